"""Short complete runs: learning, resuming, testing on several sets."""

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from tiny_training import road_anomaly_loader, runner_config

import ood_seg.register  # noqa: F401
from ood_seg.engine import MultiSetTestLoop, build_runner
from ood_seg.metrics import pixel_metrics

init_default_scope("mmseg")


class Killed(BaseException):
    """Stands for a signal: nothing of mmengine catches it."""


def weights(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def test_resumed_run_ends_with_the_weights_of_the_uninterrupted_one(scenes, tmp_path, monkeypatch):
    straight = Runner(**runner_config(scenes, tmp_path / "straight"))
    straight.train()
    expected = weights(straight)

    killed = Runner(**runner_config(scenes, tmp_path / "killed"))
    step = killed.model.train_step
    calls = iter(range(100))

    def train_step(*args, **kwargs):
        if next(calls) == 4:  # after the checkpoint of iteration 3
            raise Killed
        return step(*args, **kwargs)

    monkeypatch.setattr(killed.model, "train_step", train_step)
    with pytest.raises(Killed):
        killed.train()

    torch.rand(7), np.random.rand(7)  # a new process would not stand where the old one stood
    resumed = Runner(**runner_config(scenes, tmp_path / "killed", resume=True))
    resumed.train()
    assert resumed.iter == 6
    for name, value in weights(resumed).items():
        assert torch.equal(value, expected[name]), name
    prior = straight.model.energy_head.losses[0].prior
    assert torch.equal(resumed.model.energy_head.losses[0].prior, prior)


def by_epochs(root, work_dir, epochs, **changes):
    """Config of a run that counts epochs."""
    config = runner_config(root, work_dir)
    config["train_dataloader"] |= {
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "num_workers": 1,
        "persistent_workers": True,
    }
    config["train_cfg"] = {"type": "EpochBasedTrainLoop", "max_epochs": epochs}
    config["default_hooks"]["checkpoint"] = {"type": "CheckpointHook", "interval": 1}
    return config | {"param_scheduler": []} | changes


def test_epoch_based_run_resumes_with_the_dropout_of_the_uninterrupted_one(scenes, tmp_path):
    straight = Runner(**by_epochs(scenes, tmp_path / "straight", 2))
    straight.train()
    Runner(**by_epochs(scenes, tmp_path / "stopped", 1)).train()
    torch.rand(7)
    resumed = Runner(**by_epochs(scenes, tmp_path / "stopped", 2, resume=True))
    resumed.train()
    expected = weights(straight)
    for name, value in weights(resumed).items():
        assert torch.equal(value, expected[name]), name


def test_same_seed_same_weights_other_seed_others(scenes, tmp_path):
    runs = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        config = runner_config(scenes, tmp_path / name, iterations=2, randomness={"seed": seed})
        runner = Runner(**config)
        runner.train()
        runs.append(weights(runner)["decode_head.conv_seg.weight"])
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def bright_outliers(seed):
    """A batch whose outliers a network of this size can separate: brighter than all else."""
    data = tiny.batch(4, seed=seed)
    for image, sample in zip(data["inputs"], data["data_samples"], strict=True):
        image.clamp_(max=120)
        image[:, sample.gt_sem_seg.data[0] == 254] = 250
    return data


def score_maps(model, seed=77):
    with torch.no_grad():
        samples = model.eval().test_step(bright_outliers(seed))
    return torch.cat([sample.pred_anomaly.data for sample in samples])


def auroc(scores, seed=77):
    labels = torch.cat([s.gt_sem_seg.data for s in tiny.batch(4, seed=seed)["data_samples"]])
    masks = torch.where(labels == 254, 1, torch.where(labels == 255, 255, 0))
    return pixel_metrics(scores, masks)["auroc"]


def test_twenty_iterations_separate_outliers_and_survive_save_and_load(tmp_path):
    loss = dict(tiny.ENERGY_LOSS, loss_weight=1.0)
    model = tiny.build(energy_head={"type": "EnergyHead", "losses": [loss]})
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    before = auroc(score_maps(model))
    model.train()
    for seed in range(20):
        data = model.data_preprocessor(bright_outliers(seed), True)
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scores = score_maps(model)
    assert auroc(scores) > max(0.9, before)

    torch.save(model.state_dict(), tmp_path / "model.pth")
    loaded = tiny.build(seed=5)
    loaded.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    assert torch.equal(score_maps(loaded), scores)


def test_multi_set_loop_names_every_metric_by_its_set(scenes, tmp_path):
    config = runner_config(scenes, tmp_path)
    for key in list(config):
        if key.startswith(("train", "optim", "param", "custom")):
            del config[key]
    loader = road_anomaly_loader(scenes)
    config |= {
        "test_dataloader": {"first": loader, "second": loader},
        "test_evaluator": {
            "first": [{"type": "AnomalyMetric"}],
            "second": [{"type": "AnomalyMetric", "prefix": "other"}],
        },
        "test_cfg": {"type": "MultiSetTestLoop"},
    }
    metrics = Runner(**config).test()
    names = {
        f"{a}/{m}" for a in ("first/anomaly", "second/other") for m in ("auroc", "ap", "fpr95")
    }
    assert set(metrics) == names
    assert metrics["first/anomaly/ap"] == metrics["second/other/ap"]
    assert 0 < metrics["first/anomaly/ap"] < 100


def test_multi_set_loop_refuses_names_that_differ():
    with pytest.raises(ValueError, match="same sets"):
        MultiSetTestLoop(None, ConfigDict(a={}), ConfigDict(b={}))
    with pytest.raises(ValueError, match="dicts of named sets"):
        MultiSetTestLoop(None, ConfigDict(), ConfigDict())


def test_runs_that_start_in_one_second_have_logs_of_their_own(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr("mmengine.runner.runner.time.time", lambda: 1.7e9)
    first, second = (
        build_runner(Config(runner_config(scenes, tmp_path / name))) for name in ("a", "b")
    )
    assert first.logger is not second.logger
    assert first.message_hub is not second.message_hub
    assert second.timestamp == f"{first.timestamp}_2"
