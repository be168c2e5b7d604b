"""Preprocessing of a config as the graph needs it, and configs that cannot be exported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ood_seg.detectors import DICE, FDBD, SHE, VRA, GradNorm, OpenMax, ReAct, VirtualLogit
from ood_seg.export.graph import Preprocessing
from ood_seg.export.resizing import SizeRule

if TYPE_CHECKING:
    from mmengine.config import Config

    from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder

# Scores of activations whose operations exist in ONNX for dynamic sizes. Others sort channels
# stably (ASH, SCALE), need eigenvectors (RankFeat) or loop over images and blocks of pixels
# (Mahalanobis, GMM, kNN, NNGuide).
EXPORTABLE = (ReAct, VRA, VirtualLogit, DICE, SHE, FDBD, GradNorm)
# Scores of logits that the exporter cannot translate: OpenMax ranks the classes of each pixel.
_REFUSED = (OpenMax,)
_REMEDY = "; remove it from the test pipeline, or export with --size"


def with_size(cfg: Config, size: str | None) -> Config:
    """The config with another resize in its test pipeline.

    Args:
        cfg: not modified.
        size: `HEIGHTxWIDTH`, `dynamic` for the image's own size, or None for the config's rule.

    Raises:
        ValueError: the size has another form.
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


def preprocessing_of(cfg: Config, model: OODEncoderDecoder) -> Preprocessing:
    """The size rule of the test pipeline, and the values of the model's preprocessor.

    Raises:
        ValueError: see `size_rule`.
    """
    preprocessor = model.data_preprocessor
    normalised = preprocessor._enable_normalize
    mean = preprocessor.mean.flatten().tolist() if normalised else [0.0] * 3
    std = preprocessor.std.flatten().tolist() if normalised else [1.0] * 3
    padding = preprocessor.test_cfg or {}
    divisor, size = padding.get("size_divisor"), padding.get("size")
    return Preprocessing(
        size=size_rule(cfg),
        # Images are read in BGR order, which the preprocessor keeps or swaps.
        colour="rgb" if preprocessor._channel_conversion else "bgr",
        mean=tuple(mean),
        std=tuple(std),
        divisor=divisor or 1,
        padded_size=None if size is None else (int(size[-2]), int(size[-1])),
        pad_value=float(preprocessor.pad_val),
    )


def size_rule(cfg: Config) -> SizeRule:
    """The size rule of a config's test pipeline.

    Raises:
        ValueError: the pipeline has a transform other than one bilinear resize.
    """
    from mmcv.transforms import Resize
    from mmseg.datasets.transforms import PackSegInputs

    from ood_seg.apis.pipelines import split_test_pipeline

    rule = SizeRule("own")
    for step in split_test_pipeline(cfg)[1]:
        if isinstance(step, PackSegInputs):
            continue
        if not isinstance(step, Resize):
            raise ValueError(
                f"{type(step).__name__} of the test pipeline cannot be exported{_REMEDY}"
            )
        if rule.kind != "own" or step.scale is None:
            raise ValueError(f"export supports one Resize with a scale (width, height){_REMEDY}")
        if (step.interpolation, step.backend) != ("bilinear", "cv2"):
            raise ValueError(
                f"Resize: expected bilinear interpolation by cv2, got {step.interpolation} by "
                f"{step.backend}{_REMEDY}"
            )
        width, height = step.scale
        rule = SizeRule("keep_ratio" if step.keep_ratio else "fixed", int(height), int(width))
    return rule


def check_exportable(model: OODEncoderDecoder) -> None:
    """Raise for models whose inference cannot be exported.

    Raises:
        ValueError: sliding-window inference, a decode head with its own prediction, or a score
            that cannot be exported; the message gives the remedy.
    """
    from ood_seg.models.decode_outputs import own_inference

    head, score = model.decode_head, model.energy_head.score
    if model.test_cfg.get("mode", "whole") != "whole":
        raise ValueError(
            "only inference on whole images can be exported, but test_cfg.mode is "
            f"{model.test_cfg.mode!r}; add --cfg-options model.test_cfg.mode=whole"
        )
    if method := own_inference(head):
        raise ValueError(f"{method} is not that of mmseg's base class and cannot be exported")
    of_logits = model.energy_head.needs == "logits" and not isinstance(score, _REFUSED)
    if not of_logits and not isinstance(score, EXPORTABLE):
        names = ", ".join(kind.__name__ for kind in EXPORTABLE)
        raise ValueError(
            f"the score {type(score).__name__} cannot be exported; use a score of logits, such as "
            f"Energy, MaxLogit, MaxSoftmax or Entropy, or one of {names} "
            "(--cfg-options model.energy_head.score.type=Energy)"
        )
