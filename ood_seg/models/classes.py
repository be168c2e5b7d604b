"""Names and colours of a model's classes."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config

from ood_seg.labels import CITYSCAPES_CLASSES

Palette = list[tuple[int, int, int]]


def class_names_and_colours(
    cfg: Config, checkpoint: Mapping[str, Any], *, count: int
) -> tuple[tuple[str, ...], Palette]:
    """Return names and RGB colours of a model's classes.

    They come from the first of these that has `count` classes: the checkpoint, the config's
    training set, Cityscapes. Otherwise the classes are numbered. Test sets are not used: those
    of anomalies have only the classes "known" and "anomaly".
    """
    meta = checkpoint.get("meta")
    saved = meta.get("dataset_meta") if isinstance(meta, Mapping) else None
    for candidate in (saved if isinstance(saved, Mapping) else None, _training_meta(cfg)):
        names = (candidate or {}).get("classes")
        if isinstance(names, (list, tuple)) and len(names) == count:
            return tuple(names), _colours((candidate or {}).get("palette"), count)
    if count == len(CITYSCAPES_CLASSES):
        from mmseg.utils import get_palette

        return CITYSCAPES_CLASSES, _colours(get_palette("cityscapes"), count)
    return tuple(f"class {index}" for index in range(count)), _colours(None, count)


def _training_meta(cfg: Config) -> Mapping[str, Any] | None:
    from mmseg.registry import DATASETS

    dataset = (cfg.get("train_dataloader") or {}).get("dataset") or {}
    while inner := next(
        (dataset[key] for key in ("dataset", "datasets", "clean", "known") if dataset.get(key)),
        None,
    ):
        dataset = inner[0] if isinstance(inner, (list, tuple)) else inner
    if dataset.get("classes"):
        return {"classes": dataset["classes"]}
    if dataset.get("metainfo"):
        return dataset["metainfo"]
    kind = DATASETS.get(dataset["type"]) if dataset.get("type") else None
    return getattr(kind, "METAINFO", None)


def _colours(palette: Sequence[Sequence[int]] | None, count: int) -> Palette:
    if palette is not None and len(palette) == count:
        return [(int(red), int(green), int(blue)) for red, green, blue in palette]
    # Steps by the golden ratio keep any two neighbours far apart on the colour circle.
    hues = [(index * 0.618034) % 1.0 for index in range(count)]
    colours = (colorsys.hsv_to_rgb(hue, 0.75, 0.95) for hue in hues)
    return [
        (round(255 * red), round(255 * green), round(255 * blue)) for red, green, blue in colours
    ]
