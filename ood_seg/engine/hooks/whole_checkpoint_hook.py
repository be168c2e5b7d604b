"""mmengine's checkpoint hook with atomic writes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from ood_seg.checkpoints import is_local
from ood_seg.io.files import write_bytes, write_text

_BACKEND = "WholeFiles"


class _WholeFiles(LocalBackend):
    """Local files that are written atomically, and removed late where that is asked for."""

    def __init__(self) -> None:
        self._outdated: list[str] | None = None

    def put(self, obj: bytes, filepath: str | Path) -> None:
        write_bytes(Path(filepath), obj)

    def remove(self, filepath: str | Path) -> None:
        if self._outdated is None:
            super().remove(filepath)
        else:
            self._outdated.append(str(filepath))

    @contextlib.contextmanager
    def removing_later(self) -> Iterator[list[str]]:
        """Context manager: files to be removed are listed instead, and stay."""
        self._outdated = []
        try:
            yield self._outdated
        finally:
            self._outdated = None


register_backend(_BACKEND, _WholeFiles, force=True)


@HOOKS.register_module(name="CheckpointHook", force=True)
class WholeCheckpointHook(CheckpointHook):
    """`CheckpointHook` whose files appear complete or not at all; configs need no other name.

    The same holds for the best checkpoints and for the file `last_checkpoint`. An outdated
    checkpoint (`max_keep_ckpts`, or the previous best one) is removed once its successor stands,
    so there is always one to resume from, and the disk needs room for one more.

    Where a config sets `backend_args`, `file_client_args` or a remote `out_dir`, files are written
    as mmengine does.

    Args:
        **kwargs: see mmengine's hook.
    """

    backend_args: dict[str, Any] | None

    def before_train(self, runner: Runner) -> None:
        """Prepare as mmengine's hook does, for atomic files."""
        local = is_local(str(self.out_dir or runner.work_dir))
        if local and self.backend_args is None and self.file_client_args is None:
            self.backend_args = {"backend": _BACKEND}
        super().before_train(runner)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        """Save a checkpoint, point to it, and then remove the one that it replaces."""
        outdated = self._outdated_by(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if not is_main_process():
            return
        write_text(Path(runner.work_dir) / "last_checkpoint", str(self.last_ckpt))
        if outdated is not None:
            if self.file_backend.isfile(outdated):
                self.file_backend.remove(outdated)
            elif self.file_backend.isdir(outdated):  # those of deepspeed are folders
                self.file_backend.rmtree(outdated)

    def _outdated_by(self, runner: Runner, step: int) -> str | None:
        """Path of the checkpoint that the one of this step replaces; counts the new one."""
        if self.max_keep_ckpts <= 0 or step in list(self.keep_ckpt_ids)[-1:]:
            return None
        full = len(self.keep_ckpt_ids) == self.max_keep_ckpts
        oldest = self.keep_ckpt_ids.popleft() if full else None
        self.keep_ckpt_ids.append(step)
        runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        if oldest is None:
            return None
        return self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(oldest))

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, Any]) -> None:
        """Save the best checkpoints, and then remove those that they replace."""
        if not isinstance(self.file_backend, _WholeFiles):
            super()._save_best_checkpoint(runner, metrics)
            return
        with self.file_backend.removing_later() as outdated:
            super()._save_best_checkpoint(runner, metrics)
        several: dict[str, str] = getattr(self, "best_ckpt_path_dict", {})
        current = {getattr(self, "best_ckpt_path", None), *several.values()}
        for path in outdated:
            if path not in current:
                self.file_backend.remove(path)
