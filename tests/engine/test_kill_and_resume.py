"""A training that is killed and resumed in a new process ends with the same weights."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.config import Config
from tiny_training import runner_config

from ood_seg.checkpoints import load_weights

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
