"""How an `OODEncoderDecoder` predicts with a score that needs more than logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.structures import SegDataSample
from torch import Tensor

from ood_seg.detectors import Network
from ood_seg.models.detector_scores import (
    image_maps,
    network_of,
    network_scores,
    require_layers,
    require_whole_images,
)

if TYPE_CHECKING:
    from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder


class Detection:
    """The network as the detectors see it, checked once against the score of the model."""

    def __init__(self) -> None:
        self._network: Network | None = None

    def network(self, model: OODEncoderDecoder) -> Network:
        """The network, after the score has been found to be that of these weights.

        Raises:
            ValueError: statistics of another model, a layer that does not exist, or a score that
                sees the whole network in a model that averages windows.
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
    model: OODEncoderDecoder,
    network: Network,
    inputs: Tensor,
    data_samples: list[SegDataSample] | None,
) -> list[SegDataSample]:
    """What `EncoderDecoder.predict` gives, and the anomaly map of each image.

    The score map is interpolated as the logits are: to the size of the input, without padding to
    that of the image; smoothing comes last.

    Args:
        model: whose score needs `outputs` or `network`.
        network: the same.
        inputs: `(N, 3, H, W)`, preprocessed.
        data_samples: of the images, or None.

    Returns:
        Samples with `seg_logits`, `pred_sem_seg` and `pred_anomaly (1, H, W)`.
    """
    head, size = model.energy_head, tuple(inputs.shape[-2:])
    logits, scores = network_scores(head.score, network, inputs)
    maps = image_maps(scores.unsqueeze(1), size, data_samples, align_corners=model.align_corners)
    logits = resize(
        logits, size=size, mode="bilinear", align_corners=model.align_corners, warning=False
    )
    samples = EncoderDecoder.postprocess_result(model, logits, data_samples)
    for sample, score_map in zip(samples, maps, strict=True):
        sample.set_data({"pred_anomaly": PixelData(data=head.smooth(score_map))})
    return samples
