"""Trainings and fits that are killed and started again end with the same numbers."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.config import Config
from tiny_training import runner_config

from ood_seg.checkpoints import load_checkpoint, load_weights

PROGRAM = """
import os, signal, sys
from ood_seg.commands import main
from mmengine.runner import IterBasedTrainLoop

run_iter, kill_at = IterBasedTrainLoop.run_iter, int(sys.argv[1])

def run_or_die(self, batch):
    if self.iter == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    run_iter(self, batch)

IterBasedTrainLoop.run_iter = run_or_die
sys.exit(main(["train", *sys.argv[2:]]))
"""


def train(config: Path, work_dir: Path, *extra: str, kill_at: int = -1) -> int:
    command = [sys.executable, "-c", PROGRAM, str(kill_at), str(config)]
    run = subprocess.run([*command, "--work-dir", str(work_dir), *extra], capture_output=True)
    return run.returncode


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_and_resumed_equals_uninterrupted(scenes, tmp_path, workers):
    settings = runner_config(scenes, tmp_path)
    settings["train_dataloader"] |= {"num_workers": workers, "persistent_workers": workers > 0}
    settings["custom_imports"] = {"imports": ["ood_seg.register"]}
    config = tmp_path / "config.py"
    Config(settings).dump(config)

    assert train(config, tmp_path / "straight") == 0
    assert train(config, tmp_path / "killed", kill_at=4) == -signal.SIGKILL
    assert not (tmp_path / "killed" / "iter_6.pth").exists()
    assert train(config, tmp_path / "killed", "--resume") == 0

    straight, resumed = (
        load_weights(tmp_path / name / "iter_6.pth") for name in ("straight", "killed")
    )
    assert list(straight) == list(resumed)
    for name, value in straight.items():
        assert torch.equal(value, resumed[name]), name


def start(*arguments: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "ood_seg", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def killed(process: subprocess.Popen, after: float | None) -> bool:
    """Kill a process some seconds from now, None: never; whether it was still running."""
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    return False


def wait_for_checkpoints(process: subprocess.Popen, work_dir: Path, number: int) -> None:
    """Return when a training has written that many checkpoints, or has ended."""
    pointer = work_dir / "last_checkpoint"
    seen = {pointer.read_text() if pointer.exists() else ""}
    while len(seen) <= number and process.poll() is None:
        seen.add(pointer.read_text() if pointer.exists() else "")
        time.sleep(0.005)


def write_config(scenes: Path, folder: Path, *, iterations: int) -> Path:
    settings = runner_config(scenes, folder, iterations=iterations)
    # Half of the time is spent on writing, so that kills fall there too.
    settings["default_hooks"]["checkpoint"] |= {"interval": 1, "max_keep_ckpts": 1}
    settings["param_scheduler"][0]["end"] = iterations
    settings["custom_imports"] = {"imports": ["ood_seg.register"]}
    settings["fit_dataloader"] = {
        "batch_size": 1,
        "num_workers": 0,
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "dataset": {
            "type": "CityscapesDataset",
            "data_root": str(scenes / "cityscapes"),
            "data_prefix": {"img_path": "leftImg8bit/train", "seg_map_path": "gtFine/train"},
            "pipeline": [
                {"type": "LoadCheckedImage"},
                {"type": "LoadCheckedLabels", "num_classes": 19},
                {"type": "PackSegInputs"},
            ],
        },
    }
    config = folder / "config.py"
    Config(settings).dump(config)
    return config


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_kills_at_random_moments_change_no_weight(scenes, tmp_path, seed):
    iterations, work_dir, draw = 10, tmp_path / "killed", random.Random(seed)
    config = write_config(scenes, tmp_path, iterations=iterations)
    straight = start("train", config, "--work-dir", tmp_path / "straight")
    wait_for_checkpoints(straight, tmp_path / "straight", 1)
    began = time.monotonic()
    output = straight.communicate()[0]
    assert straight.returncode == 0, output
    length = (time.monotonic() - began) / iterations

    arguments = ("train", config, "--work-dir", work_dir, "--resume")
    kills = 0
    for _ in range(3):
        process = start(*arguments)
        wait_for_checkpoints(process, work_dir, draw.randint(1, 2))
        kills += killed(process, draw.uniform(0, length))
        for path in work_dir.glob("*.pth"):  # every file under a final name is whole
            load_checkpoint(path)
        assert Path((work_dir / "last_checkpoint").read_text()).is_file()
    assert kills
    last = start(*arguments)
    output = last.communicate()[0]
    assert last.returncode == 0, output

    name = f"iter_{iterations}.pth"
    expected, found = (load_weights(tmp_path / run / name) for run in ("straight", "killed"))
    assert list(expected) == list(found)
    for key, value in expected.items():
        assert torch.equal(value, found[key]), key
    # The next start removes what a kill has left behind, so nothing heaps up.
    assert not list(work_dir.glob(".*.part"))


@pytest.mark.slow
def test_a_killed_fit_leaves_the_old_file_and_can_be_repeated(scenes, tmp_path):
    config, draw = write_config(scenes, tmp_path, iterations=1), random.Random(0)
    assert not killed(start("train", config, "--work-dir", tmp_path / "run"), None)
    weights, out = tmp_path / "run" / "iter_1.pth", tmp_path / "fitted" / "scores.stats"
    methods = ("--methods", "sml", "mahalanobis", "--work-dir", tmp_path / "fit")
    arguments = ("fit", config, weights, "--file", out, *methods)
    began = time.monotonic()
    assert not killed(start(*arguments), None)
    length, content = time.monotonic() - began, out.read_bytes()
    kills = sum(killed(start(*arguments), draw.uniform(0.2, 1.05) * length) for _ in range(6))
    assert kills > 2
    assert out.read_bytes() == content
    out.unlink()
    while killed(start(*arguments), draw.uniform(0.5, 1.0) * length):
        assert not out.exists() or out.read_bytes() == content
        length *= 1.2
    assert out.read_bytes() == content
    assert [path.name for path in out.parent.iterdir()] == [out.name]
