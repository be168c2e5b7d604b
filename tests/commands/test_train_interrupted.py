"""`ood-seg train`: another schedule on resuming, two runs in one work dir, a full disk."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import pytest

pytest.importorskip("mmseg")
from ood_seg.apis import load_checkpoint
from ood_seg.checkpoints import save_checkpoint
from ood_seg.commands import main
from ood_seg.engine import train
from ood_seg.engine.training import LOCK
from ood_seg.io.files import claimed


def write_config(job, path: Path, *, iterations: int, end: int | None, lr: float = 0.05) -> str:
    """A child of the job's config with a polynomial decay to 0 until `end`, None: constant."""
    decay = f'dict(type="PolyLR", power=1.0, begin=0, end={end}, by_epoch=False)' if end else ""
    path.write_text(
        f"_base_ = {str(job.config)!r}\n"
        f"param_scheduler = [{decay}]\n"
        f"optim_wrapper = dict(optimizer=dict(lr={lr}))\n"
        f"train_cfg = dict(max_iters={iterations})\n"
    )
    return str(path)


def rates(work_dir: Path) -> dict[int, float]:
    """The learning rate of each iteration of the last run."""
    log = max(work_dir.rglob("vis_data/2*.json"), key=lambda path: path.stat().st_mtime_ns)
    entries = map(json.loads, log.read_text().splitlines())
    return {entry["step"]: entry["lr"] for entry in entries if "lr" in entry}


@pytest.fixture(scope="module")
def short(job, tmp_path_factory):
    """Work dir of a finished run of 4 iterations whose schedule ends there."""
    folder = tmp_path_factory.mktemp("short")
    config = write_config(job, folder / "run.py", iterations=4, end=4)
    assert main(["train", config, "--work-dir", str(folder / "run")]) == 0
    return folder / "run"


def resumed(short: Path, folder: Path, config: str, *extra: str) -> int:
    """Resume a copy of the short run."""
    folder.mkdir()
    (folder / "last_checkpoint").write_text("iter_4.pth")
    os.link(short / "iter_4.pth", folder / "iter_4.pth")
    return main(["train", config, "--work-dir", str(folder), "--resume", *extra])


def test_another_schedule_is_refused_with_both(job, short, tmp_path, capsys):
    config = write_config(job, tmp_path / "longer.py", iterations=8, end=8)
    assert resumed(short, tmp_path / "run", config) == 2
    message = capsys.readouterr().err
    for named in ("iterations 0 to 4", "iterations 0 to 8", "--resume-schedule"):
        assert named in message


def test_another_learning_rate_is_refused_too(job, short, tmp_path, capsys):
    config = write_config(job, tmp_path / "faster.py", iterations=8, end=4, lr=0.07)
    assert resumed(short, tmp_path / "run", config) == 2
    message = capsys.readouterr().err
    assert "lr 0.05" in message
    assert "lr 0.07" in message


def test_the_schedule_of_the_config_goes_on_where_a_straight_run_would_be(job, short, tmp_path):
    config = write_config(job, tmp_path / "longer.py", iterations=8, end=8)
    chosen = "--resume-schedule", "config"
    assert resumed(short, tmp_path / "run", config, *chosen) == 0
    # A decay to 0 over 8 iterations, with power 1: its last step is 0.
    assert rates(tmp_path / "run") == pytest.approx(
        {step: 0.05 * (8 - step) / 7 for step in (5, 6, 7, 8)}, abs=1e-12
    )
    saved = load_checkpoint(tmp_path / "run" / "iter_8.pth")
    assert saved["param_schedulers"][0]["end"] == 8
    # A second resume has nothing to choose.
    (tmp_path / "run" / "last_checkpoint").write_text("iter_6.pth")
    assert main(["train", config, "--work-dir", str(tmp_path / "run"), "--resume"]) == 0
    assert rates(tmp_path / "run")[7] == pytest.approx(0.05 / 7)


def test_the_schedule_of_the_checkpoint_ends_with_a_warning(job, short, tmp_path, capfd):
    config = write_config(job, tmp_path / "longer.py", iterations=6, end=8)
    chosen = "--resume-schedule", "checkpoint"
    assert resumed(short, tmp_path / "run", config, *chosen) == 0
    assert rates(tmp_path / "run") == {5: 0.0, 6: 0.0}
    output = "".join(capfd.readouterr())
    for named in ("iterations 0 to 4", "iterations 0 to 8", "iteration 4 of 6"):
        assert named in output


def test_parts_that_do_not_correspond_need_the_schedule_of_the_config(job, short, tmp_path, capsys):
    config = write_config(job, tmp_path / "constant.py", iterations=6, end=None)
    chosen = "--resume-schedule", "checkpoint"
    assert resumed(short, tmp_path / "refused", config, *chosen) == 2
    assert "constant" in capsys.readouterr().err
    chosen = "--resume-schedule", "config"
    assert resumed(short, tmp_path / "run", config, *chosen) == 0
    assert rates(tmp_path / "run") == {5: 0.05, 6: 0.05}


def test_a_checkpoint_without_the_state_of_a_training_is_not_resumed(job, short, tmp_path, capsys):
    config = write_config(job, tmp_path / "run.py", iterations=6, end=4)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "last_checkpoint").write_text("iter_4.pth")
    weights = load_checkpoint(short / "iter_4.pth")["state_dict"]
    save_checkpoint(folder / "iter_4.pth", {"state_dict": weights})
    assert main(["train", config, "--work-dir", str(folder), "--resume"]) == 2
    assert "iter_4.pth holds no state of a training" in capsys.readouterr().err


def test_an_optimizer_of_other_parameters_is_refused(job, short, tmp_path, capsys):
    config = write_config(job, tmp_path / "run.py", iterations=6, end=4)
    grouped = "--cfg-options", "optim_wrapper.paramwise_cfg.bias_lr_mult=2.0"
    assert resumed(short, tmp_path / "run", config, *grouped) == 2
    assert "paramwise_cfg" in capsys.readouterr().err


def test_a_choice_without_a_resumed_run_is_refused(job):
    with pytest.raises(ValueError, match="resume_schedule 'config'"):
        train(job.config, resume_schedule="config")


def test_a_second_run_in_one_work_dir_is_refused_with_the_owner(job, tmp_path, capsys):
    folder = tmp_path / "run"
    with claimed(folder, lock=folder / LOCK):
        assert main(["train", str(job.config), "--work-dir", str(folder)]) == 2
        message = capsys.readouterr().err
        assert str(folder) in message
        assert str(os.getpid()) in message
        assert [path.name for path in folder.iterdir()] == [LOCK]


def test_a_full_disk_ends_in_one_line_and_keeps_the_last_checkpoint(job, short, tmp_path, capsys):
    config = write_config(job, tmp_path / "run.py", iterations=6, end=4)
    whole = (short / "iter_4.pth").read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Larger than any log, smaller than a checkpoint.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) - 1000, before[1]))
    try:
        kept = "--cfg-options", "default_hooks.checkpoint.max_keep_ckpts=1"
        assert resumed(short, tmp_path / "run", config, *kept) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert "File too large" in message
    assert "iter_6.pth" in message
    assert (tmp_path / "run" / "iter_4.pth").read_bytes() == whole
    assert (tmp_path / "run" / "last_checkpoint").read_text() == "iter_4.pth"
    assert not list((tmp_path / "run").glob("*iter_6*"))
    assert not list((tmp_path / "run").glob(".*"))
