"""Checkpoints are whole, and an old one goes only once its successor stands."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("mmseg")
from mmengine.fileio import get_file_backend
from mmengine.logging import MessageHub
from mmengine.registry import HOOKS, DefaultScope

from ood_seg.engine.hooks import WholeCheckpointHook


class Runner(SimpleNamespace):
    """Writes a checkpoint as mmengine's runner does, and records which files stood by then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            work_dir=str(folder),
            logger=logging.getLogger(__name__),
            message_hub=MessageHub(f"hub of {folder}"),
            epoch=0,
            iter=0,
            standing=[],
            full=False,
        )

    def save_checkpoint(self, out_dir, filename, *_, backend_args=None, **__):
        path = Path(out_dir) / filename
        backend = get_file_backend(str(path), backend_args=backend_args)
        backend.put(b"x" if not self.full else None, str(path))  # None: an error while writing
        self.standing.append(names(Path(self.work_dir)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def hook_of(runner: Runner, **options) -> WholeCheckpointHook:
    hook = WholeCheckpointHook(by_epoch=False, interval=1, **options)
    hook.before_train(runner)
    return hook


def save(hook: WholeCheckpointHook, runner: Runner, step: int) -> None:
    runner.iter = step - 1
    hook._save_checkpoint(runner)


def test_configs_of_mmseg_get_it_by_the_usual_name():
    with DefaultScope.overwrite_default_scope("mmseg"):
        assert type(HOOKS.build({"type": "CheckpointHook", "interval": 5})) is WholeCheckpointHook


def test_the_old_checkpoint_stands_while_the_new_one_is_written(tmp_path):
    runner = Runner(tmp_path)
    hook = hook_of(runner, max_keep_ckpts=1)
    save(hook, runner, 1)
    save(hook, runner, 2)
    assert runner.standing[1] == ["iter_1.pth", "iter_2.pth", "last_checkpoint"]
    assert names(tmp_path) == ["iter_2.pth", "last_checkpoint"]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "iter_2.pth")


def test_a_failed_write_leaves_the_old_checkpoint_and_its_pointer(tmp_path):
    runner = Runner(tmp_path)
    hook = hook_of(runner, max_keep_ckpts=1)
    save(hook, runner, 1)
    runner.full = True
    with pytest.raises(TypeError):
        save(hook, runner, 2)
    assert names(tmp_path) == ["iter_1.pth", "last_checkpoint"]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "iter_1.pth")


def test_the_last_two_are_kept_also_after_a_resume(tmp_path):
    runner = Runner(tmp_path)
    hook = hook_of(runner, max_keep_ckpts=2)
    for step in (1, 2, 3):
        save(hook, runner, step)
    hook = hook_of(runner, max_keep_ckpts=2)  # the message hub is restored from the checkpoint
    save(hook, runner, 4)
    assert names(tmp_path) == ["iter_3.pth", "iter_4.pth", "last_checkpoint"]


@pytest.mark.parametrize("several", [False, True])
def test_the_previous_best_checkpoint_goes_last(tmp_path, several):
    runner = Runner(tmp_path)
    keys = ["mIoU", "aAcc"] if several else "mIoU"
    hook = hook_of(runner, save_best=keys, max_keep_ckpts=1)
    for step, value in ((1, 10.0), (2, 20.0), (3, 15.0)):
        save(hook, runner, step)
        runner.iter = step
        hook.after_val_epoch(runner, {"mIoU": value, "aAcc": 1.0})
    better = next(standing for standing in runner.standing if "best_mIoU_iter_2.pth" in standing)
    assert "best_mIoU_iter_1.pth" in better
    others = ["best_aAcc_iter_1.pth"] if several else []
    assert names(tmp_path) == sorted(
        [*others, "best_mIoU_iter_2.pth", "iter_3.pth", "last_checkpoint"]
    )


def test_a_best_checkpoint_of_the_same_name_is_replaced_not_removed(tmp_path):
    runner = Runner(tmp_path)
    hook = hook_of(runner, save_best="mIoU")
    runner.iter = 1
    for value in (10.0, 20.0):
        hook.after_val_epoch(runner, {"mIoU": value})
    assert names(tmp_path) == ["best_mIoU_iter_1.pth"]
