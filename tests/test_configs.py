"""Every shipped config parses, builds its model and hooks, and runs its pipelines."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, HOOKS, LOOPS, METRICS, MODELS

import ood_seg.register  # noqa: F401
from ood_seg import compat

ROOT = Path(__file__).resolve().parents[1] / "configs"
LEAVES = sorted(
    p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*.py") if "_base_" not in p.parts
)
init_default_scope("mmseg")
compat.apply()  # `mmseg::` bases resolve in the maintained family too


def test_the_list_is_not_empty():
    assert len(LEAVES) >= 8


@pytest.fixture(params=LEAVES)
def config(request):
    return Config.fromfile(ROOT / request.param)


def test_config_builds_and_gives_a_score(config):
    model = MODELS.build(config.model).eval()
    with torch.no_grad():
        (sample,) = model.predict(torch.randn(1, 3, 64, 96))
    assert sample.pred_anomaly.data.shape == (1, 64, 96)
    assert torch.isfinite(sample.pred_anomaly.data).all()
    for hook in [*config.default_hooks.values(), *config.get("custom_hooks", [])]:
        HOOKS.build(hook)
    assert LOOPS.get(config.test_cfg.type)
    assert set(config.test_dataloader) == set(config.test_evaluator)
    for metrics in config.test_evaluator.values():
        for metric in metrics:
            METRICS.build(metric)


def test_config_states_where_it_comes_from(config):
    first_line = Path(config.filename).read_text().splitlines()[0]
    assert first_line.startswith('"""')
    assert first_line.endswith('"""')


def test_pipelines_run_on_the_real_data(config, real_data, monkeypatch):
    if "demo" in Path(config.filename).parts:
        pytest.skip("runs on drawn data, see tests/demo")
    monkeypatch.setenv("OOD_SEG_DATA", str(real_data))
    config = Config.fromfile(config.filename)
    loaders = dict(config.test_dataloader)
    for name in ("train_dataloader", "val_dataloader"):
        if config.get(name):
            loaders[name] = config[name]
    for name, loader in loaders.items():
        sample = DATASETS.build(loader.dataset)[0]
        labels = sample["data_samples"].gt_sem_seg.data
        assert sample["inputs"].shape[0] == 3, name
        allowed = {0, 1, 255} if name in ("road_anomaly", "fs_static") else {*range(19), 254, 255}
        assert set(labels.unique().tolist()) <= allowed, name
        if name in ("train_dataloader", "val_dataloader"):
            assert (labels == 254).any()
