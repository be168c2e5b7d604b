"""Scores that need more than logits, in an `OODEncoderDecoder`.

images -> network_of(model) -> small logits, activations -> score -> small score map
       -> image_maps: to the size of the network's input, padding off, flipped back, image's size
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from mmengine.model import BaseModel
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ood_seg.detectors import PENULTIMATE, Network, Outputs
from ood_seg.models.decode_outputs import classifier_name

NEEDS = ("logits", "outputs", "network")


def needs_of(score: nn.Module) -> str:
    """Return what a score is called with; see `ood_seg.detectors.base`.

    Raises:
        ValueError: its attribute `needs` has another value.
    """
    needs = getattr(score, "needs", "logits")
    if needs not in NEEDS:
        raise ValueError(f"{type(score).__name__}.needs must be one of {NEEDS}, got {needs!r}")
    return needs


def network_of(model: BaseModel, forward: Callable[[Tensor], Tensor] | None = None) -> Network:
    """Return an encoder-decoder as a `Network`: prepared images to small logits.

    Of a model with an anomaly branch this is the branch's network, whose layers have the names of
    a plain model.

    A model with a method `detector_network(forward)` makes its own.

    The classifier is mmseg's `conv_seg`, or the layer that the decode head names in its attribute
    `classifier_name`; a head without either has no layer `penultimate`.

    Args:
        model: an `OODEncoderDecoder`.
        forward: images to small logits of all channels; None: the model's own.
    """
    if hasattr(model, "detector_network"):
        return model.detector_network(forward)
    if getattr(model, "anomaly_branch", None) is not None:
        model = model.anomaly_branch.network(model)
    classifier = classifier_name(model.decode_head)
    std = getattr(model.data_preprocessor, "std", None)
    return Network(
        model,
        forward or model._forward,
        classifier=None if classifier is None else f"decode_head.{classifier}",
        num_classes=model.energy_head.num_classes,
        input_std=None if std is None else std.flatten(),
        align_corners=model.align_corners,
    )


def require_layers(network: Network, layers: Iterable[str]) -> None:
    """Raise where the network lacks a layer.

    Raises:
        ValueError: it does; the message lists those that it has.
    """
    for name in layers:
        if name != PENULTIMATE:
            network.layer(name)


def require_whole_images(model: BaseModel) -> None:
    """Refuse sliding windows, whose logits are averaged before a score can be computed.

    Raises:
        ValueError: the model predicts in windows.
    """
    mode = (model.test_cfg or {}).get("mode", "whole")
    if mode != "whole":
        raise ValueError(
            f"{type(model.energy_head.score).__name__} reads the whole network, so it cannot be "
            f"averaged over sliding windows (test_cfg.mode is {mode!r}); set "
            "model.test_cfg.mode='whole', or use a score of the logits alone"
        )


def network_scores(
    score: Any, network: Network, images: Tensor, outputs: Outputs | None = None
) -> tuple[Tensor, Tensor]:
    """Return small logits `(N, C, h, w)` and scores `(N, h', w')` of prepared images.

    Args:
        score: one that needs `outputs` or `network`.
        network: the model.
        images: `(N, 3, H, W)`, prepared.
        outputs: of a forward pass that recorded at least the layers of the score; None: it is
            run here.
    """
    if needs_of(score) == "network":
        return score(network, images)
    if outputs is None:
        outputs = network(images, score.layers)
    return outputs.logits, score(outputs, network)


def logits_and_scores(model: BaseModel, network: Network, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return small class logits and scores of prepared images, for labels and anomaly map.

    With an anomaly branch the logits are those of the frozen segmentor, and the score is computed
    on the branch's network.

    Args:
        model: an `OODEncoderDecoder` whose score needs `outputs` or `network`.
        network: `network_of` it.
        images: `(N, 3, H, W)`, prepared.
    """
    branch, score = model.anomaly_branch, model.energy_head.score
    if branch is None:
        return network_scores(score, network, images)
    if needs_of(score) == "network":  # it may change modes or images, so nothing is shared
        return network.class_logits(model._forward(images)), network_scores(score, network, images)[
            1
        ]
    logits, (_, scores) = branch.both(
        model,
        lambda frozen: frozen.small_logits(images),
        lambda trained: network_scores(score, network_of(trained), images),
    )
    return network.class_logits(logits), scores


def image_maps(
    maps: Tensor,
    input_size: Sequence[int],
    samples: Sequence[SegDataSample] | None,
    *,
    align_corners: bool,
) -> list[Tensor]:
    """Return maps at the size of their images, interpolated as mmseg interpolates logits.

    Args:
        maps: `(N, C, h, w)` at the network's own resolution; scores with one channel.
        input_size: height and width of the prepared images.
        samples: with padding, flip and size of each image; None: unpadded, at the input's size.
        align_corners: of the interpolation.

    Returns:
        `(C, H, W)` for each image, at its own size.
    """
    maps = resize(
        maps,
        size=tuple(input_size),
        mode="bilinear",
        align_corners=align_corners,
        warning=False,
    )
    if samples is None:
        return list(maps)
    return [
        _at_image_size(one[None], sample.metainfo, align_corners)
        for one, sample in zip(maps, samples, strict=True)
    ]


def _at_image_size(values: Tensor, meta: dict, align_corners: bool) -> Tensor:
    """A map `(1, C, H, W)` without padding, flipped back, at the image's size `(C, H, W)`."""
    left, right, top, bottom = meta.get("img_padding_size", meta.get("padding_size", (0, 0, 0, 0)))
    height, width = values.shape[-2:]
    values = values[..., top : height - bottom, left : width - right]
    if meta.get("flip"):
        axis = {"horizontal": -1, "vertical": -2}[meta["flip_direction"]]
        values = values.flip(dims=(axis,))
    return resize(
        values,
        size=tuple(meta["ori_shape"][:2]),
        mode="bilinear",
        align_corners=align_corners,
        warning=False,
    )[0]
