"""The config of docs/finetuning.md for a model of one's own."""

import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("mmseg")
import tiny
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, MODELS

from ood_seg.config_files import load_config

init_default_scope("mmseg")
ROOT = Path(__file__).resolve().parents[1]
NUM_CLASSES = 7
OWN_DATASET = """
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS


@DATASETS.register_module(force=True)
class StreetDataOfMine(BaseSegDataset):
    pass
"""


@pytest.fixture
def cfg(tmp_path, monkeypatch):
    """The documented config upon a plain one, whose network is tiny."""
    text = (ROOT / "docs" / "finetuning.md").read_text(encoding="utf-8")
    (mine,) = re.findall(r"```python\n(# my_balanced\.py\n.*?)```", text, re.DOTALL)
    (tmp_path / "street_data_of_mine.py").write_text(OWN_DATASET)
    monkeypatch.syspath_prepend(tmp_path)
    dataset = {"type": "StreetDataOfMine", "metainfo": {"classes": ("a",) * NUM_CLASSES}}
    loader = {"batch_size": 4, "dataset": {**dataset, "pipeline": []}}
    steps = [{"type": name} for name in ("LoadImageFromFile", "LoadAnnotations", "PackSegInputs")]
    plain = {
        "custom_imports": {"imports": ["street_data_of_mine"]},
        "model": {**tiny.model_config(NUM_CLASSES), "type": "EncoderDecoder"},
        "train_pipeline": steps,
        "test_pipeline": steps,
        "train_dataloader": loader,
        "test_dataloader": loader,
        "test_evaluator": {"type": "IoUMetric"},
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": 80_000, "val_interval": 8000},
        "optim_wrapper": {"optimizer": {"type": "AdamW", "lr": 1.0}},
    }
    Config(plain).dump(tmp_path / "my_model.py")
    path = tmp_path / "my_balanced.py"
    path.write_text(mine)
    cfg = load_config(path)
    weights = MODELS.build(plain["model"]).state_dict()
    torch.save({"state_dict": weights}, tmp_path / "weights.pth")
    cfg.model.distillation.checkpoint = str(tmp_path / "weights.pth")
    yield cfg
    sys.modules.pop("street_data_of_mine")


def test_a_dataset_of_ones_own_is_known(cfg):
    assert cfg.custom_imports.imports == ["ood_seg.register", "street_data_of_mine"]
    assert DATASETS.get(cfg.train_dataloader.dataset.type) is not None


def test_objects_are_pasted_last_and_the_rest_stays(cfg):
    steps = [step["type"] for step in cfg.train_dataloader.dataset.pipeline]
    assert steps == ["LoadImageFromFile", "LoadAnnotations", "PasteOutliers", "PackSegInputs"]
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.train_cfg.type == "IterBasedTrainLoop"
    assert cfg.optim_wrapper.optimizer.to_dict() == {"type": "AdamW", "lr": 1e-4}
    assert [step["type"] for step in cfg.fit_dataloader.dataset.pipeline] == [
        "LoadImageFromFile",
        "LoadAnnotations",
        "PackSegInputs",
    ]
    assert cfg.test_dataloader.dataset.type == "AnomalyFolderDataset"
    assert "metainfo" not in cfg.test_dataloader.dataset
    assert cfg.test_evaluator.to_dict() == {"type": "AnomalyMetric"}


def test_its_model_learns_from_both_kinds_of_pixels(cfg):
    model = MODELS.build(cfg.model)
    for loss in model.energy_head.losses:
        loss.set_prior(torch.ones(NUM_CLASSES))
    batch = model.data_preprocessor(tiny.batch(2), True)
    losses = model.loss(batch["inputs"], batch["data_samples"])
    assert {"decode.loss_ce", "anomaly.loss_balanced_energy"} <= set(losses)
    assert any("distill" in name for name in losses)
