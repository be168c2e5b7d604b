"""Hook that saves and restores the random state with a checkpoint."""

from __future__ import annotations

import random

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

_CHECKPOINT_KEY = "random_state"


@HOOKS.register_module()
class RandomStateHook(Hook):
    """Makes a resumed run draw the random numbers of an uninterrupted one.

    The states of Python, NumPy and torch (CPU and the current CUDA device) are stored in each
    checkpoint as tensors and restored right before the first resumed iteration. The data come
    from `SeededSamples`, which neither reads nor changes these states. In a distributed run every
    rank has its own state, and only rank 0 writes checkpoints: there the hook does nothing, and
    networks with active dropout resume with other masks. So do those in epoch-based
    loops whose loader workers are restarted every epoch (`persistent_workers=False`).
    """

    priority = "LOWEST"

    def __init__(self) -> None:
        self._pending: dict | None = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the states."""
        if get_world_size() > 1:
            return
        python_version, python_state, python_gauss = random.getstate()
        state = np.random.get_state(legacy=False)
        keys, position = state["state"]["key"], state["state"]["pos"]
        checkpoint[_CHECKPOINT_KEY] = {
            "python": (python_version, torch.tensor(python_state), python_gauss),
            "numpy": (
                torch.from_numpy(keys.astype(np.int64)),
                position,
                state["has_gauss"],
                state["gauss"],
            ),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the states until the data loader has been advanced."""
        self._pending = checkpoint.get(_CHECKPOINT_KEY)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Restore the states once, if the run was resumed."""
        states, self._pending = self._pending, None
        if states is None or runner.iter == 0 or get_world_size() > 1:
            return
        version, state, gauss = states["python"]
        random.setstate((version, tuple(state.tolist()), gauss))
        keys, position, has_gauss, gauss = states["numpy"]
        np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, gauss))
        torch.set_rng_state(states["torch"].cpu())
        if states["cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(states["cuda"].cpu())
