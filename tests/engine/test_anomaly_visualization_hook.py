"""The visualisation hook: which images it draws, and where."""

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from tiny_training import road_anomaly_loader

import ood_seg.register  # noqa: F401

init_default_scope("mmseg")


def run_test(scenes, tmp_path, **options):
    from mmengine.config import ConfigDict

    hook = {"type": "AnomalyVisualizationHook", **options}
    loader = road_anomaly_loader(scenes)
    Runner(
        model=ConfigDict(tiny.model_config(19)),
        work_dir=str(tmp_path / "work"),
        default_scope="mmseg",
        experiment_name="vis",
        log_level="WARNING",
        test_dataloader={"first": loader, "second": loader},
        test_evaluator={
            "first": [{"type": "AnomalyMetric"}],
            "second": [{"type": "AnomalyMetric"}],
        },
        test_cfg={"type": "MultiSetTestLoop"},
        default_hooks={"visualization": hook},
    ).test()


def test_first_images_of_each_set_are_drawn(scenes, tmp_path):
    run_test(scenes, tmp_path, draw=True, num_images=2, out_dir=str(tmp_path / "figures"))
    names = sorted(p.relative_to(tmp_path / "figures") for p in tmp_path.rglob("*.png"))
    assert [str(name.parent) for name in names] == ["first", "first", "second", "second"]
    assert names[0].name == names[2].name
    figure = cv2.imread(str(tmp_path / "figures" / names[0]))
    assert len(np.unique(figure.reshape(-1, 3), axis=0)) > 100


def test_nothing_is_drawn_by_default(scenes, tmp_path):
    run_test(scenes, tmp_path)
    assert not list(tmp_path.rglob("*.png"))


def test_default_folder_is_the_work_dir(scenes, tmp_path):
    run_test(scenes, tmp_path, draw=True)
    assert len(list((tmp_path / "work" / "vis" / "first").glob("*.png"))) == 3
    assert torch.is_grad_enabled()
