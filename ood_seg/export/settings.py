"""What the graph must repeat of a config: its test pipeline and its model's preprocessor."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ood_seg.detectors import ReAct, VirtualLogit
from ood_seg.export.graph import Preprocessing
from ood_seg.export.resizing import SizeRule

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn

# Scores of activations whose operations exist in ONNX for any number and size of images. Others
# sort channels stably (ASH, SCALE) or go through images and pixels in parts (Mahalanobis, kNN).
EXPORTABLE = (ReAct, VirtualLogit)
_REMEDY = "; leave it out of the test pipeline, or export with --size"


def with_size(cfg: Config, size: str | None) -> Config:
    """The config with a test pipeline that resizes otherwise.

    Args:
        cfg: stays as it is.
        size: `HEIGHTxWIDTH`, `dynamic` for the image's own size, or None for the config's rule.

    Raises:
        ValueError: the text is none of these.
    """
    if size is None:
        return cfg
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", size)
    if found is None and size != "dynamic":
        raise ValueError(f"size: expected HEIGHTxWIDTH such as 512x1024, or dynamic, got {size!r}")
    steps: list[dict[str, Any]] = [{"type": "LoadImageFromFile"}]
    if found is not None:
        scale = (int(found[2]), int(found[1]))
        steps.append({"type": "Resize", "scale": scale, "keep_ratio": False})
    changed = cfg.copy()
    changed.test_dataloader = None
    changed.test_pipeline = [*steps, {"type": "PackSegInputs"}]
    return changed


def preprocessing_of(cfg: Config, model: nn.Module) -> Preprocessing:
    """Read the size rule off the test pipeline and the rest off the model's preprocessor.

    Raises:
        ValueError: a transform or an option that the graph does not know.
    """
    preprocessor = model.data_preprocessor
    normalised = preprocessor._enable_normalize
    mean = preprocessor.mean.flatten().tolist() if normalised else [0.0] * 3
    std = preprocessor.std.flatten().tolist() if normalised else [1.0] * 3
    padding = preprocessor.test_cfg or {}
    divisor, size = padding.get("size_divisor"), padding.get("size")
    return Preprocessing(
        size=size_rule(cfg),
        # Pictures are read in BGR order; the preprocessor swaps or leaves it.
        colour="rgb" if preprocessor._channel_conversion else "bgr",
        mean=tuple(mean),
        std=tuple(std),
        divisor=divisor or 1,
        padded_size=None if size is None else (int(size[-2]), int(size[-1])),
        pad_value=float(preprocessor.pad_val),
    )


def size_rule(cfg: Config) -> SizeRule:
    """What the test pipeline of a config makes of an image's size.

    Raises:
        ValueError: it does something else than resizing bilinearly.
    """
    from mmcv.transforms import Resize
    from mmseg.datasets.transforms import PackSegInputs

    from ood_seg.apis.pipelines import split_test_pipeline

    rule = SizeRule("own")
    for step in split_test_pipeline(cfg)[1]:
        if isinstance(step, PackSegInputs):
            continue
        if not isinstance(step, Resize):
            raise ValueError(f"{type(step).__name__} of the test pipeline has no export{_REMEDY}")
        if rule.kind != "own" or step.scale is None:
            raise ValueError(f"export knows one Resize with a scale (width, height){_REMEDY}")
        if (step.interpolation, step.backend) != ("bilinear", "cv2"):
            raise ValueError(
                f"Resize: expected bilinear interpolation by cv2, got {step.interpolation} by "
                f"{step.backend}{_REMEDY}"
            )
        width, height = step.scale
        rule = SizeRule("keep_ratio" if step.keep_ratio else "fixed", int(height), int(width))
    return rule


def check_exportable(model: nn.Module) -> None:
    """Refuse models whose inference the graph does not repeat.

    Raises:
        ValueError: saying what and which remedy there is.
    """
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead

    head, score = model.decode_head, model.energy_head.score
    if model.test_cfg.get("mode", "whole") != "whole":
        raise ValueError(
            f"export is for whole images, the config's test_cfg.mode is {model.test_cfg.mode!r}; "
            "give --cfg-options model.test_cfg.mode=whole"
        )
    for method in ("predict", "predict_by_feat"):
        if getattr(type(head), method) is not getattr(BaseDecodeHead, method):
            raise ValueError(
                f"{type(head).__name__} predicts by a {method} of its own, which has no export"
            )
    if model.energy_head.needs != "logits" and not isinstance(score, EXPORTABLE):
        names = ", ".join(kind.__name__ for kind in EXPORTABLE)
        raise ValueError(
            f"the score {type(score).__name__} has no export; choose one of logits, such as "
            f"Energy, MaxLogit, MaxSoftmax or Entropy, or one of {names} "
            "(--cfg-options model.energy_head.score.type=Energy)"
        )
