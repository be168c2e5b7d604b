"""Complete inference as one torch module, from 8-bit images to labels and scores.

```
image uint8 -> resize (as OpenCV) -> normalise -> pad -> network -> logits (N,C,h,w)
    -> size of the input -> crop the padding -> size of the image -> arg-max -> labels
                                                                  `-> score -> smoothing -> score
                                                                     calibrated score -> anomaly
```

Equal to the test pipeline, `SegDataPreProcessor` and `OODEncoderDecoder.predict`, in operations
that can be exported with dynamic sizes.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ood_seg.calibration.curves import IsotonicCurve, LogisticCurve
from ood_seg.export.resizing import SizeRule, resize_image
from ood_seg.labels import label_type
from ood_seg.models.detector_scores import logits_and_scores, network_of
from ood_seg.scores import Energy

if TYPE_CHECKING:
    from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder

# Beyond, the exporter takes minutes over the nodes of each class.
_MOST_UNROLLED = 200


class Preprocessing(NamedTuple):
    """Preprocessing of an image for the network.

    Attributes:
        size: rule for the size of the network's input.
        colour: `bgr` or `rgb`, channel order of the network's input.
        mean: per channel, in that order, in units of 0..255.
        std: per channel, likewise.
        divisor: height and width are padded to a multiple of it; 1: no padding.
        padded_size: minimum height and width after padding; None: no such rule.
        pad_value: value of the padding, which follows the normalisation.
    """

    size: SizeRule
    colour: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    divisor: int = 1
    padded_size: tuple[int, int] | None = None
    pad_value: float = 0.0


class InferenceGraph(nn.Module):
    """An `OODEncoderDecoder` with its pre- and post-processing.

    Args:
        model: in evaluation mode.
        preprocessing: of the model's test pipeline.
        layout: `nhwc` or `nchw`, of the input.
        colour: `bgr` or `rgb`, of the input.
        input_type: `uint8`, or `float32` of integers 0..255.
        curve: maps scores to probabilities; None: no calibration.
        outputs: names of the tensors to return, out of `labels`, `anomaly`, `score`, `logits`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        model: OODEncoderDecoder,
        preprocessing: Preprocessing,
        *,
        layout: str = "nhwc",
        colour: str = "bgr",
        input_type: str = "uint8",
        curve: LogisticCurve | IsotonicCurve | None = None,
        outputs: tuple[str, ...] = ("labels", "anomaly"),
    ) -> None:
        super().__init__()
        self.model = model
        self.preprocessing = preprocessing
        self.layout = layout
        self.colour = colour
        self.input_type = input_type
        self.swap_colours = colour != preprocessing.colour
        self.curve = curve
        self.outputs = outputs
        # Read here, because torch.export replaces the classes of the modules.
        self._needs = model.energy_head.needs
        self._is_energy = type(model.energy_head.score) is Energy
        for name in ("mean", "std"):
            values = torch.tensor(getattr(preprocessing, name), dtype=torch.float32)
            self.register_buffer(name, values.view(1, -1, 1, 1), persistent=False)

    @property
    def channels(self) -> int:
        """C' of the logits; with a score of activations, the class channels only."""
        model = self.model
        if self._needs != "logits" or model.energy_head.has_branch:
            return model.num_classes
        return model.out_channels

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Labels and scores of images.

        Args:
            image: `(N, H, W, 3)` or `(N, 3, H, W)`, of the input type.

        Returns:
            The tensors named by `outputs`: `labels` `(N, H, W)` uint8 (uint16 for more than 254
            classes, see `labels.label_type`), `anomaly` `(N, H, W)`
            float32 (a probability if there is a curve), `score` `(N, H, W)` float32, `logits`
            `(N, C', H, W)` float32.
        """
        size = image.shape[1:3] if self.layout == "nhwc" else image.shape[2:]
        logits, scores = self.full_maps(image, size)
        energy_head, scored = self.model.energy_head, len(self.outputs) > 1
        values = {"logits": logits[:, : self.channels]}
        if self._is_energy and scored and self.model.num_classes <= _MOST_UNROLLED:
            values["labels"], scores = self._labels_and_energy(logits)
        else:
            class_logits = energy_head.class_logits(logits)
            values["labels"] = class_logits.argmax(dim=1).to(_label_type(class_logits))
        if scored:
            scores = energy_head.predict(logits) if scores is None else energy_head.smooth(scores)
            values["score"] = scores
            values["anomaly"] = scores if self.curve is None else probability(scores, self.curve)
        return tuple(values[name] for name in self.outputs)

    def _labels_and_energy(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        energy_head = self.model.energy_head
        temperature = energy_head.score.temperature
        labels, energies = labels_and_energy(energy_head.class_logits(logits), temperature)
        if energy_head.has_branch:
            scored = logits[:, energy_head.score_channels]
            energies = labels_and_energy(scored, temperature)[1]
        return labels, energies

    def network_input(self, image: Tensor, height: int, width: int) -> Tensor:
        """Images at the size of the network's input, normalised, not yet padded."""
        size = self.preprocessing.size.network_size(height, width)
        if self.preprocessing.size.kind == "own":
            maps = (image.permute(0, 3, 1, 2) if self.layout == "nhwc" else image).float()
        else:
            image = image if self.layout == "nhwc" else image.permute(0, 2, 3, 1)
            maps = resize_image(image, *size)
        if self.swap_colours:
            maps = maps.flip(1)
        return (maps - self.mean) / self.std

    def full_maps(self, image: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        """Logits interpolated to the size of the input and then of the image, as in mmseg.

        Returns:
            Logits `(N, C', H, W)` float32; and, if the score is one of activations, its map
            `(N, H, W)`, not yet smoothed.
        """
        maps = self.network_input(image, *size)
        inner, rule = maps.shape[2:], self.preprocessing
        right, bottom = (self._padding(side, axis) for axis, side in ((1, inner[1]), (0, inner[0])))
        if not (isinstance(right, int) and isinstance(bottom, int) and right == bottom == 0):
            maps = F.pad(maps, (0, right, 0, bottom), value=rule.pad_value)
        enlarged = functools.partial(self._enlarged, padded=maps.shape[2:], inner=inner, size=size)
        if self._needs == "logits" or len(self.outputs) == 1:
            return enlarged(self._logits(maps)), None
        network = network_of(self.model, self._logits)
        logits, scores = logits_and_scores(self.model, network, maps)
        return enlarged(logits), enlarged(scores.unsqueeze(1)).squeeze(1)

    def _logits(self, maps: Tensor) -> Tensor:
        """Logits of preprocessed images, at the network's own resolution."""
        return self.model.small_logits(maps)

    def _enlarged(
        self,
        maps: Tensor,
        padded: Sequence[int],
        inner: Sequence[int],
        size: Sequence[int],
    ) -> Tensor:
        """Maps interpolated to the padded input, cropped, and interpolated to the image."""
        maps = self._interpolate(maps, padded)[:, :, : inner[0], : inner[1]]
        own = self.preprocessing.size.kind == "own"
        return (maps if own else self._interpolate(maps, size)).float()

    def _padding(self, side: int, axis: int) -> int:
        rule = self.preprocessing
        if rule.padded_size is not None:
            return torch.sym_max(rule.padded_size[axis] - side, 0)
        return 0 if rule.divisor == 1 else (-side) % rule.divisor

    def _interpolate(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        aligned = self.model.align_corners
        return F.interpolate(logits, tuple(size), mode="bilinear", align_corners=aligned)


def labels_and_energy(logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Arg-max and `scores.energy`, computed class by class.

    Equal to `argmax` and `logsumexp` over the class axis, which ONNX Runtime computes with strided
    memory access, four times as slowly; and both need the largest logit.

    Args:
        logits: `(N, C, H, W)`.
        temperature: `T > 0`.

    Returns:
        Labels `(N, H, W)` of `labels.label_type`, the first class of equal maxima, and energies
        `(N, H, W)`.
    """
    maps = logits.unbind(dim=1)
    highest, labels = maps[0], torch.zeros_like(maps[0])
    for index, one in enumerate(maps[1:], start=1):
        labels = torch.maximum(labels, torch.where(one > highest, float(index), 0.0))
        highest = torch.maximum(highest, one)
    total = functools.reduce(operator.add, (_exp(one - highest, temperature) for one in maps))
    energies = -(highest + _times(total.log(), temperature))
    return labels.to(_label_type(logits)), energies


def _label_type(logits: Tensor) -> torch.dtype:
    return getattr(torch, label_type(logits.shape[1]))


def _exp(differences: Tensor, temperature: float) -> Tensor:
    return (differences if temperature == 1 else differences / temperature).exp()


def _times(values: Tensor, temperature: float) -> Tensor:
    return values if temperature == 1 else values * temperature


def probability(scores: Tensor, curve: LogisticCurve | IsotonicCurve) -> Tensor:
    """Calibrated probabilities, equal to `curve(scores)`, in operations that can be exported."""
    if isinstance(curve, LogisticCurve):
        return curve(scores)
    knots, values = (scores.new_tensor(part) for part in (curve.scores, curve.probabilities))
    count = _knots_below(scores, knots)
    left, right = (count - 1).clamp(min=0), count.clamp(max=knots.numel() - 1)
    start, low, high = _at(knots, left), _at(values, left), _at(values, right)
    gap = _at(knots, right) - start
    share = (scores - start) / torch.where(gap > 0, gap, torch.ones_like(gap))
    return torch.minimum(low + share.clamp(0, 1) * (high - low), high)


def _knots_below(scores: Tensor, knots: Tensor) -> Tensor:
    """Number of knots `<= score`: a binary search with the same steps for every pixel."""
    steps = knots.numel().bit_length()
    padding = knots.new_full(((1 << steps) - knots.numel(),), float("inf"))
    padded = torch.cat([knots, padding])
    count = torch.zeros_like(scores, dtype=torch.int64)
    for power in reversed(range(steps)):
        reached = _at(padded, count + ((1 << power) - 1)) <= scores
        count = count + reached.to(torch.int64) * (1 << power)
    return count


def _at(table: Tensor, indices: Tensor) -> Tensor:
    """`table[indices]` by `index_select`, which the runtimes execute fastest."""
    return table.index_select(0, indices.reshape(-1)).reshape(indices.shape)
