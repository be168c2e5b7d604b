"""A short complete run of a model with an anomaly branch: prior, checkpoints, resuming, loading."""

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmseg.registry import DATASETS
from tiny_training import runner_config, train_set

import ood_seg.register  # noqa: F401
from ood_seg.checkpoints import load_weights
from ood_seg.engine.outlier_prior import count_outlier_predictions
from ood_seg.models.loading import load_model

init_default_scope("mmseg")
FORK = {"fork": ["backbone.decoder.*", "decode_head.*"]}
LOSS = {
    "type": "BalancedEnergyLoss",
    "margin_in": -6.0,
    "margin_out": 0.0,
    "alpha": 2.0,
    "gamma": 1.0,
    "loss_weight": 0.1,
}


def config(root, work_dir, pretrained, **changes):
    head = {"type": "EnergyHead", "losses": [LOSS]}
    model = tiny.model_config(
        19, anomaly_branch=FORK, distillation={"weight": 1.0}, energy_head=head
    )
    changes = {"load_from": str(pretrained), **changes}
    return runner_config(root, work_dir, model=ConfigDict(model), **changes)


@pytest.fixture
def pretrained(tmp_path):
    path = tmp_path / "pretrained.pth"
    torch.save({"state_dict": tiny.build(num_classes=19).state_dict()}, path)
    return path


def test_only_the_branch_learns_and_a_resumed_run_ends_with_the_same_weights(
    scenes, tmp_path, pretrained
):
    runner = Runner(**config(scenes, tmp_path, pretrained))
    runner.train()
    final, start = runner.model.state_dict(), load_weights(pretrained)
    assert all(torch.equal(final[key], value) for key, value in start.items())
    branch = {
        key: final[f"anomaly_branch.{key}"] for key in start if f"anomaly_branch.{key}" in final
    }
    assert any(not torch.equal(value, start[key]) for key, value in branch.items())

    frozen = tiny.build(num_classes=19)
    dataset = DATASETS.build(train_set(scenes))
    counts = count_outlier_predictions(frozen, dataset, num_images=8, seed=0)
    torch.testing.assert_close(runner.model.energy_head.losses[0].prior, counts / counts.sum())
    measured = count_outlier_predictions(runner.model, dataset, num_images=8, seed=0)
    assert torch.equal(measured, counts)  # the branch has no part in it, trained or not

    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "iter_3.pth"))
    torch.rand(7)
    resumed = Runner(**config(scenes, tmp_path, tmp_path / "iter_3.pth", resume=True))
    resumed.train()
    for key, value in resumed.model.state_dict().items():
        assert torch.equal(value, final[key]), key

    cfg = Config({"model": tiny.model_config(19), "load_from": str(tmp_path / "iter_6.pth")})
    with pytest.raises(ValueError, match="anomaly_branch"):
        load_model(cfg)
    cfg.allowed_key_mismatch = [r"^anomaly_branch\."]
    plain = load_model(cfg)
    assert all(torch.equal(plain.state_dict()[key], value) for key, value in start.items())
