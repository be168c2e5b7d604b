"""The three ways of an `OODEncoderDecoder` to labels and anomaly maps.

```
full logits   mmseg's predict() -> logits at the image's size ----> scored_samples()
row blocks    small logits -> labels and scores block by block ---> predict_fused()
network       activations, gradients -> small score map ----------> predict_with_network()
```

`full logits` is possible for every score of logits and all of mmseg's test settings. `row blocks`
gives the same labels and scores in a fraction of time and memory where `can_predict_fused` is
true. `network` is for scores that read more than logits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from torch import Tensor

from ood_seg.detectors import Network
from ood_seg.full_resolution import MAX_CLASSES, labels_and_scores
from ood_seg.models.decode_outputs import own_inference
from ood_seg.models.detector_scores import (
    image_maps,
    logits_and_scores,
    network_of,
    require_layers,
    require_whole_images,
)
from ood_seg.models.energy_head import EnergyHead, wants_all_channels
from ood_seg.scores import MaxLogit


def add_prediction(sample: SegDataSample, logits: Tensor, energy_head: EnergyHead) -> None:
    """Set logits, labels and anomaly map of one image.

    Args:
        sample: is given `seg_logits (C, H, W)`, `pred_sem_seg (1, H, W)`, `pred_anomaly
            (1, H, W)`, and `all_logits (C', H, W)` if the score needs all channels; with an
            anomaly branch also `branch_sem_seg (1, H, W)`, the labels that its logits would give.
        logits: `(C', H, W)`: all channels if the score needs them, else at least the classes.
        energy_head: holds the number of classes and the score.
    """
    class_logits = energy_head.class_logits(logits[None])[0]
    values = {
        "seg_logits": class_logits,
        "pred_sem_seg": class_logits.argmax(dim=0, keepdim=True),
        "pred_anomaly": energy_head.predict(logits[None]),
    }
    if energy_head.scores_all_channels:
        values["all_logits"] = logits
    if energy_head.has_branch:
        branch_logits = logits[energy_head.num_classes :][: energy_head.num_classes]
        values["branch_sem_seg"] = branch_logits.argmax(dim=0, keepdim=True)
    sample.set_data({name: PixelData(data=data) for name, data in values.items()})


def scored_samples(
    model: EncoderDecoder, seg_logits: Tensor, data_samples: list[SegDataSample] | None
) -> list[SegDataSample]:
    """mmseg's post-processing of the class channels, and the anomaly map of each image.

    Args:
        model: an `OODEncoderDecoder` without an anomaly branch.
        seg_logits: all channels, `(N, C', H, W)`, at the size of the network's input.
        data_samples: of the images, or None.

    Returns:
        Samples as of `OODEncoderDecoder.postprocess_result`.
    """
    head = model.energy_head
    if head.scores_all_channels:
        samples = EncoderDecoder.postprocess_result(model, seg_logits, data_samples)
        for sample in samples:
            add_prediction(sample, sample.seg_logits.data, head)
        return samples
    class_logits = head.class_logits(seg_logits)
    samples = EncoderDecoder.postprocess_result(model, class_logits, data_samples)
    for sample in samples:
        scores = head.predict(sample.seg_logits.data.unsqueeze(0))
        sample.set_data({"pred_anomaly": PixelData(data=scores)})
    return samples


def can_predict_fused(model: EncoderDecoder, data_samples: Sequence[SegDataSample] | None) -> bool:
    """Whether a prediction needs no full-size logits.

    False where windows are averaged, an image is flipped back, the decode head has an inference of
    its own, the score reads more than its pixel's logits, or the labels would not fit into a byte.

    Args:
        model: an `OODEncoderDecoder`.
        data_samples: of the images, or None.
    """
    return (
        model.test_cfg.get("mode", "whole") == "whole"
        and own_inference(model.decode_head) is None
        and model.energy_head.needs == "logits"
        and getattr(model.energy_head.score, "pointwise", True)
        and model.num_classes <= MAX_CLASSES
        and not any(sample.metainfo.get("flip") for sample in data_samples or ())
    )


def predict_fused(
    model: EncoderDecoder, inputs: Tensor, data_samples: list[SegDataSample] | None
) -> list[SegDataSample]:
    """Return the labels and scores of `EncoderDecoder.predict`, without full-size logits.

    Args:
        model: an `OODEncoderDecoder` for which `can_predict_fused` is true.
        inputs: `(N, 3, H', W')`, preprocessed.
        data_samples: of the images, or None.

    Returns:
        Samples with `pred_sem_seg` (data `(1, H, W)` uint8) and `pred_anomaly` (data `(1, H, W)`).
    """
    head, branch = model.energy_head, model.anomaly_branch
    if branch is None:
        logits = labelled = model.small_logits(inputs)
    else:
        labelled, logits = branch.logits(model, lambda network: network.small_logits(inputs))
    class_logits = head.class_logits(labelled)
    if not wants_all_channels(head.score):
        logits = head.class_logits(logits)
    size = tuple(inputs.shape[-2:])
    if data_samples is None:
        data_samples = [SegDataSample() for _ in inputs]
    else:
        size = input_size(data_samples[0].metainfo)
    for image_logits, image_class_logits, sample in zip(
        logits, class_logits, data_samples, strict=True
    ):
        meta = sample.metainfo
        enlarge = partial(
            labels_and_scores,
            size=meta.get("ori_shape", size),
            num_classes=class_logits.shape[1],
            align_corners=model.align_corners,
            input_size=size,
            padding=meta.get("img_padding_size", meta.get("padding_size", (0, 0, 0, 0))),
        )
        labels, scores = enlarge(image_logits[None], score=head.score)
        if branch is not None:
            labels, _ = enlarge(image_class_logits[None], score=MaxLogit())
        values = {"pred_sem_seg": labels, "pred_anomaly": head.smooth(scores)}
        sample.set_data({name: PixelData(data=data) for name, data in values.items()})
    return data_samples


def input_size(meta: dict[str, Any]) -> tuple[int, int]:
    """Size to which mmseg's decode heads bring their logits at inference, padding included."""
    size = meta["img_shape"]
    if not isinstance(size, torch.Size):  # mmseg's mark of a window
        size = meta.get("pad_shape", size)
    return tuple(size[:2])


class CheckedNetwork:
    """Holds a model as the `Network` of the detectors, once its score has been checked."""

    def __init__(self) -> None:
        self._network: Network | None = None

    def get(self, model: EncoderDecoder) -> Network:
        """Return the network; the first call checks that the score fits these weights.

        Raises:
            ValueError: statistics of another model, a layer that does not exist, or a score that
                reads the whole network in a model that averages windows.
        """
        if self._network is None:
            network, score = network_of(model), model.energy_head.score
            if hasattr(score, "check_model"):
                score.check_model(network)
            require_layers(network, getattr(score, "layers", ()))
            self._network = network
        if model.energy_head.needs != "logits":
            require_whole_images(model)
        return self._network


def predict_with_network(
    model: EncoderDecoder,
    network: Network,
    inputs: Tensor,
    data_samples: list[SegDataSample] | None,
) -> list[SegDataSample]:
    """Return the result of `EncoderDecoder.predict` with the anomaly map of each image.

    The score map is interpolated as the logits are: to the size of the input, without padding to
    that of the image; smoothing comes last.

    Args:
        model: an `OODEncoderDecoder` whose score needs `outputs` or `network`.
        network: the same model.
        inputs: `(N, 3, H, W)`, preprocessed.
        data_samples: of the images, or None.

    Returns:
        Samples with `seg_logits`, `pred_sem_seg` and `pred_anomaly (1, H, W)`.
    """
    head, size = model.energy_head, tuple(inputs.shape[-2:])
    logits, scores = logits_and_scores(model, network, inputs)
    maps = image_maps(scores.unsqueeze(1), size, data_samples, align_corners=model.align_corners)
    logits = resize(
        logits, size=size, mode="bilinear", align_corners=model.align_corners, warning=False
    )
    samples = EncoderDecoder.postprocess_result(model, logits, data_samples)
    for sample, score_map in zip(samples, maps, strict=True):
        sample.set_data({"pred_anomaly": PixelData(data=head.smooth(score_map))})
    return samples
