"""Loggers by name: what they add to a config, and that images of the validation reach them."""

import importlib.util

import numpy as np
import pytest

pytest.importorskip("mmseg")
import tiny
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.visualization.vis_backend import BaseVisBackend
from mmseg.registry import VISBACKENDS
from tiny_training import road_anomaly_loader

import ood_seg.register  # noqa: F401
from ood_seg.engine.loggers import add_loggers
from ood_seg.engine.training import set_prior_source

init_default_scope("mmseg")


@pytest.fixture
def installed(monkeypatch):
    """All loggers but Weights & Biases appear to be installed."""
    found = {"tensorboard": object(), "mlflow": object(), "wandb": None}
    original = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: found[name] if name in found else original(name)
    )
    for name in ("MLFLOW_TRACKING_URI", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cfg(tmp_path):
    return Config(
        {
            "work_dir": str(tmp_path / "runs" / "mine"),
            "model": {"type": "X", "label_map": {0: 1}},
            "train_cfg": {"max_iters": 3},
            "default_hooks": {"visualization": {"type": "AnomalyVisualizationHook", "draw": False}},
            "visualizer": {
                "type": "SegLocalVisualizer",
                "vis_backends": [{"type": "LocalVisBackend"}, {"type": "TensorboardVisBackend"}],
            },
        }
    )


def test_backends_are_added_once(installed, cfg, tmp_path):
    add_loggers(cfg, ["tensorboard", "mlflow", "mlflow"])
    kinds = [one.type for one in cfg.visualizer.vis_backends]
    assert kinds == ["LocalVisBackend", "TensorboardVisBackend", "MLflowVisBackend"]
    mlflow = cfg.visualizer.vis_backends[-1]
    assert mlflow.run_name == "mine"
    assert mlflow.tracking_uri == f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    assert mlflow.artifact_location == (tmp_path / "runs" / "mlflow_files").as_uri()
    assert mlflow.tracked_config_keys == ["train_cfg"]  # the model has numbers as keys
    assert cfg.default_hooks.visualization.to_dict() == {
        "type": "AnomalyVisualizationHook",
        "draw": True,
        "num_images": 4,
    }


def test_what_the_config_draws_stays(installed, cfg):
    cfg.default_hooks.visualization.update(draw=True, num_images=None)
    add_loggers(cfg, ["tensorboard"])
    assert cfg.default_hooks.visualization.num_images is None
    before = cfg.to_dict()
    add_loggers(cfg, [])
    assert cfg.to_dict() == before


@pytest.mark.parametrize(
    ("name", "words"),
    [("wandb", "pip install wandb"), ("tensorbord", "'tensorbord'.*'tensorboard'.*mlflow")],
)
def test_unknown_and_missing_loggers(name, words, installed, cfg):
    with pytest.raises(ValueError, match=words):
        add_loggers(cfg, [name])


@VISBACKENDS.register_module(force=True)
class KeepsImages(BaseVisBackend):
    """Keeps what it is given."""

    images: list = []  # noqa: RUF012

    @property
    def experiment(self):
        return self

    def _init_env(self):
        pass

    def add_config(self, config, **kwargs):
        pass

    def add_image(self, name, image, step=0, **kwargs):
        self.images.append((name, image, step))


def test_images_reach_the_backends(scenes, tmp_path):
    KeepsImages.images.clear()
    backends = [{"type": "LocalVisBackend"}, {"type": "KeepsImages"}]
    Runner(
        model=ConfigDict(tiny.model_config(19)),
        work_dir=str(tmp_path / "work"),
        default_scope="mmseg",
        experiment_name="logged",
        log_level="WARNING",
        test_dataloader={"first": road_anomaly_loader(scenes)},
        test_evaluator={"first": [{"type": "AnomalyMetric"}]},
        test_cfg={"type": "MultiSetTestLoop"},
        visualizer={"type": "SegLocalVisualizer", "name": "v", "vis_backends": backends},
        default_hooks={
            "visualization": {"type": "AnomalyVisualizationHook", "draw": True, "num_images": 2}
        },
    ).test()
    drawn = sorted((tmp_path / "work" / "vis" / "first").glob("*.png"))
    assert [name for name, _, _ in KeepsImages.images] == [f"first/{one.stem}" for one in drawn]
    image = KeepsImages.images[0][1]
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert image.std() > 10
    assert not list((tmp_path / "work").rglob("vis_data/vis_image/*"))  # not drawn twice


def test_source_of_the_prior():
    hooks = [{"type": "RandomStateHook"}, {"type": "OutlierPriorHook", "num_images": 400}]
    cfg = Config({"custom_hooks": hooks})
    set_prior_source(cfg, num_images=50)
    assert cfg.custom_hooks[1].to_dict() == {
        "type": "OutlierPriorHook",
        "num_images": 50,
        "source": None,
    }
    set_prior_source(cfg, source="cityscapes-coco-wrn38")
    assert cfg.custom_hooks[1].source == "cityscapes-coco-wrn38"
    for options, words in (
        ({"num_images": 0}, "--prior-images must be positive"),
        ({"num_images": 1, "source": "x"}, "exclude each other"),
    ):
        with pytest.raises(ValueError, match=words):
            set_prior_source(cfg, **options)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        set_prior_source(cfg, source="nowhere.json")
    with pytest.raises(ValueError, match="OutlierPriorHook"):
        set_prior_source(Config({"custom_hooks": hooks[:1]}), num_images=50)
