"""The test pipeline of a config, without its ground truth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmcv.transforms import LoadAnnotations, LoadImageFromFile
from mmengine.config import Config
from mmseg.registry import TRANSFORMS

from ood_seg.datasets.transforms.loading import LoadCheckedImage


def split_test_pipeline(cfg: Config) -> tuple[LoadCheckedImage, list[Callable]]:
    """Build the transforms of a config's test pipeline for images without ground truth.

    Args:
        cfg: with a `test_dataloader` (the first of several named sets counts) or a
            `test_pipeline`.

    Returns:
        The transform that reads `img_path`, and the list of those after it; transforms that
        load annotations are left out.

    Raises:
        ValueError: no pipeline, or one that loads no image file.
    """
    rest: list[Callable] = []
    loader = None
    for settings in _test_pipeline(cfg):
        kind = TRANSFORMS.get(settings["type"])
        if kind is not None and issubclass(kind, LoadAnnotations):
            continue
        if kind is not None and issubclass(kind, LoadImageFromFile):
            loader = LoadCheckedImage(to_float32=settings.get("to_float32", False))
            continue
        rest.append(TRANSFORMS.build(settings))
    if loader is None:
        raise ValueError("the config's test pipeline has no transform that loads an image file")
    return loader, rest


def preparation(cfg: Config) -> list[dict[str, Any]]:
    """Configs of the transforms of a test pipeline that do not load files.

    Raises:
        ValueError: as `split_test_pipeline`.
    """
    kept = []
    for settings in _test_pipeline(cfg):
        kind = TRANSFORMS.get(settings["type"])
        if kind is None or not issubclass(kind, (LoadAnnotations, LoadImageFromFile)):
            kept.append(dict(settings))
    return kept


def _test_pipeline(cfg: Config) -> list[dict[str, Any]]:
    loader = cfg.get("test_dataloader") or {}
    if loader and "dataset" not in loader:
        loader = next(iter(loader.values()))
    dataset = loader.get("dataset", {})
    while "pipeline" not in dataset and "dataset" in dataset:
        dataset = dataset["dataset"]
    pipeline = dataset.get("pipeline") or cfg.get("test_pipeline")
    if not pipeline:
        raise ValueError(
            "the config has neither a test_dataloader with a pipeline nor a test_pipeline"
        )
    return pipeline
