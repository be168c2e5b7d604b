"""Two gloo processes train as one does at the same global batch: prior, losses and weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
import torch.distributed
from mmengine.config import Config
from mmengine.registry import init_default_scope
from process_group import process_group, run_on_ranks
from tiny_training import runner_config

import ood_seg.register  # noqa: F401
from ood_seg.checkpoints import load_weights
from ood_seg.engine.runner import build_runner

init_default_scope("mmseg")

ITERATIONS = 3
GLOBAL_BATCH = 4


def train(root: Path, work_dir: Path, *, world_size: int = 1, accumulate: int = 1) -> None:
    """Fine-tune the tiny network; all weights train, batch-norm statistics stay."""
    pretrained = work_dir.parent / "pretrained.pth"
    config = runner_config(root, work_dir, iterations=ITERATIONS * accumulate)
    config["load_from"] = str(pretrained)
    config["launcher"] = "pytorch" if world_size > 1 else "none"
    config["model"]["freeze"] = {"norm_statistics": "fixed", "dropout": "off"}
    config["train_dataloader"]["batch_size"] = GLOBAL_BATCH // world_size // accumulate
    config["optim_wrapper"] = {
        "type": "OptimWrapper",
        # No adaptive step size: that of Adam would blow rounding up to a full step.
        "optimizer": {"type": "SGD", "lr": 1e-3},
        "accumulative_counts": accumulate,
    }
    config["param_scheduler"] = []
    config["default_hooks"]["checkpoint"]["interval"] = ITERATIONS * accumulate
    config["default_hooks"]["logger"] = {"type": "LoggerHook", "interval": 1}
    config["custom_imports"] = {"imports": ["ood_seg.register"]}
    build_runner(Config(config)).train()


def run_rank(rank: int, root: str, folder: str) -> None:
    """Entry of one process."""
    with process_group(rank, 2, folder):
        train(Path(root), Path(folder) / "two", world_size=2)


def last_weights(work_dir: Path) -> dict[str, torch.Tensor]:
    return load_weights((work_dir / "last_checkpoint").read_text())


@pytest.fixture(scope="module")
def runs(scenes, tmp_path_factory) -> Path:
    """Folder of a run by one process and of one by two."""
    folder = tmp_path_factory.mktemp("ranks")
    torch.save(tiny.build(num_classes=19).state_dict(), folder / "pretrained.pth")
    train(scenes, folder / "one")
    run_on_ranks(run_rank, str(scenes), str(folder))
    return folder


def test_same_prior(runs):
    one, two = (
        json.loads((runs / run / "outlier_prior.json").read_text()) for run in ("one", "two")
    )
    assert one["counts"] == two["counts"]


def test_same_weights(runs):
    start = load_weights(runs / "pretrained.pth")
    one, two = last_weights(runs / "one"), last_weights(runs / "two")
    moved = 0.0
    for name, weight in one.items():
        if weight.is_floating_point():
            step = (weight - start[name]).abs().max().item()
            # Rounding flips ReLUs: one process with other convolution kernels (without mkldnn)
            # differs from itself by up to 0.4 % of the largest step of a weight.
            difference = (two[name] - weight).abs().max().item()
            assert difference <= 0.01 * step, (name, difference, step)
            moved = max(moved, step)
    assert moved > 1e-3  # else equality would say nothing


def test_same_logged_losses(runs):
    def losses(run: str) -> list[dict]:
        lines = next((runs / run).glob("*/vis_data/scalars.json")).read_text().splitlines()
        return [json.loads(line) for line in lines]

    names = [
        f"anomaly.{name}" for name in ("loss_balanced_energy", "energy_known", "energy_outlier")
    ]
    one, two = losses("one"), losses("two")
    assert len(one) == len(two) == ITERATIONS
    for first, second in zip(one, two, strict=True):
        assert set(first) == set(second)
        for name in names:
            assert second[name] == pytest.approx(first[name], rel=1e-4), name


def test_accumulated_steps_use_the_same_samples(runs, scenes):
    """Half batches, two to a step: the mean of two means, so alike, not equal."""
    train(scenes, runs / "accumulated", accumulate=2)
    one, accumulated = last_weights(runs / "one"), last_weights(runs / "accumulated")
    start = load_weights(runs / "pretrained.pth")
    name = "decode_head.conv_seg.weight"
    step, other = one[name] - start[name], accumulated[name] - start[name]
    cosine = torch.nn.functional.cosine_similarity(step.flatten(), other.flatten(), dim=0)
    assert cosine > 0.95
