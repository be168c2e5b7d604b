"""The functions behind the commands, called from Python with a config in memory."""

import json

import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.config import Config
from mmengine.hooks import Hook

from ood_seg import engine
from ood_seg.apis import load_weights
from ood_seg.detectors import StatisticsFile
from ood_seg.engine import testing


class IterationCounter(Hook):
    """Counts training iterations and tested batches."""

    trained = tested = 0

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.trained += 1

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.tested += 1


def test_train_then_test(job, tmp_path):
    options = {"train_cfg.max_iters": 2, "load_from": str(job.weights)}
    cfg = engine.load_config(job.config, options, work_dir=tmp_path / "run", seed=7)
    assert (cfg.launcher, cfg.randomness["seed"]) == ("none", 7)
    counter = IterationCounter()
    runner = engine.train(cfg, hooks=[counter])
    assert (runner.iter, counter.trained, runner.seed) == (2, 2, 7)
    assert cfg.get("resume") is False  # the caller's config stays as it was
    assert "keep_logits" not in cfg.model
    checkpoint = tmp_path / "run" / "iter_2.pth"
    trained = load_weights(checkpoint)
    for name, value in runner.model.state_dict().items():
        assert torch.equal(trained[name], value), name
    content = testing.test(cfg, checkpoint, sets=["anomalies"], hooks=[counter])
    assert counter.tested == 3
    assert content["sets"].keys() == {"anomalies"}
    assert content["checkpoint"] == str(checkpoint)
    assert content["seed"] == 7
    written = json.loads((tmp_path / "run" / testing.RESULT_FILE).read_text())
    assert written["sets"]["anomalies"]["metrics"] == content["sets"]["anomalies"]["metrics"]
    resumed = engine.train(
        engine.load_config(cfg, {"train_cfg.max_iters": 3}), hooks=[counter], resume=True
    )
    assert (resumed.iter, counter.trained) == (3, 3)


def test_fit_gives_the_file_of_the_command(job, tmp_path):
    cfg = Config.fromfile(job.config)
    cfg.load_from = str(job.weights)
    found = engine.fit(cfg, methods=["sml"], data=["street"], options={"sml": {"min_pixels": 5}})
    assert list(found.statistics) == list(found.file.methods) == ["sml"]
    assert found.images == {"street": 3}
    assert sum(found.pixels) == 3 * 32 * 48
    assert found.summary()[0] == "fitted: sml"
    found.file.save(tmp_path / "python.stats")
    assert StatisticsFile.load(tmp_path / "python.stats").facts["model"] == str(job.weights)
    assert not (tmp_path / "work_dirs").exists()


def test_a_launcher_must_be_known(job):
    with pytest.raises(ValueError, match="'ssh'"):
        engine.load_config(job.config, launcher="ssh")
