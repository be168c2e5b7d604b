"""A training stream whose n-th sample depends only on the seed and n."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from mmengine.dataset import InfiniteSampler
from mmseg.registry import DATA_SAMPLERS, DATASETS
from torch.utils.data import Dataset


@contextlib.contextmanager
def preserved_random_state() -> Iterator[None]:
    """Leave the global generators of Python, NumPy and torch (CPU) as they were found."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@DATASETS.register_module()
class SeededSamples(Dataset):
    """Shuffled, augmented samples of a dataset, each a function of the seed and its position.

    mmengine seeds loader workers only once, so a sample depends on the number of
    workers and on all samples before it, and a resumed run sees other augmentations than the one
    that was killed. Here position n picks image `permutation(seed, n // N)[n % N]` and seeds the
    global generators for it; afterwards they are restored. Use with `StreamSampler`.

    Args:
        dataset: dataset or its config; its pipeline draws from the global generators.
        seed: None for the seed that the process was given (`torch.initial_seed`).
    """

    def __init__(self, dataset: dict | Dataset, seed: int | None = None) -> None:
        self.dataset: Any = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.seed = torch.initial_seed() if seed is None else seed

    @property
    def metainfo(self) -> dict:
        """Meta information of the dataset."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> dict:
        """Sample at a position of the stream, any number from 0 on."""
        epoch, place = divmod(int(position), len(self.dataset))
        entropy = np.random.SeedSequence([self.seed, int(position)]).generate_state(1)[0]
        with preserved_random_state():
            random.seed(int(entropy))
            np.random.seed(entropy)
            torch.manual_seed(int(entropy))
            return self.dataset[int(_permutation(self.seed, epoch, len(self.dataset))[place])]


# At module level, so that datasets can be sent to workers that are not forked.
@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, length: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(length)


@DATA_SAMPLERS.register_module()
class StreamSampler(InfiniteSampler):
    """Positions of an endless stream, distributed over the ranks in turn: 0, 1, 2, ...

    `SeededSamples` shuffles.
    """

    def _infinite_indices(self) -> Iterator[int]:
        yield from itertools.count()
