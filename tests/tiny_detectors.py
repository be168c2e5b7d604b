"""Small scores of every kind, whose values a test can work out, and a fitter of class means."""

from __future__ import annotations

import torch
from torch import Tensor

from ood_seg.detectors import (
    PENULTIMATE,
    Detector,
    FittedDetector,
    Statistics,
)
from ood_seg.detectors.reservoir import labels_at


class ActivationNorm(Detector):
    """Norm of the activation of a layer."""

    needs = "outputs"

    def __init__(self, layer: str = PENULTIMATE) -> None:
        super().__init__()
        self.layers = (layer,)

    def forward(self, outputs, network) -> Tensor:
        return outputs.features[self.layers[0]].norm(dim=1)


class BrighterImage(Detector):
    """Negative maximum logit of the image made brighter: runs the network itself."""

    needs = "network"

    def forward(self, network, images) -> tuple[Tensor, Tensor]:
        logits = network(images).logits
        return logits, -network(images + 1).logits.amax(dim=1)


class GradientNorm(Detector):
    """Norm of the input gradient of the logits' sum, as a score with gradients takes it."""

    needs = "network"

    def forward(self, network, images) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            inputs = images.clone().requires_grad_()
            logits = network(inputs).logits
            (gradient,) = torch.autograd.grad(logits.logsumexp(dim=1).sum(), inputs)
        return logits.detach(), gradient.norm(dim=1)


class NearestMean(FittedDetector):
    """Squared distance to the nearest class mean of the penultimate activation."""

    method = "nearest-mean"
    needs = "outputs"
    layers = (PENULTIMATE,)

    def forward(self, outputs, network) -> Tensor:
        features = outputs.features[PENULTIMATE]
        offsets = features.unsqueeze(1) - self.means[None, :, :, None, None]
        return offsets.square().sum(dim=2).amin(dim=1)

    @classmethod
    def fitter(cls, layers=(PENULTIMATE,), minimum: int = 1):
        return MeanFitter(tuple(layers), minimum)


class MeanFitter:
    """Sums of the penultimate activations by label."""

    def __init__(self, layers: tuple[str, ...], minimum: int) -> None:
        self.layers = layers
        self.minimum = minimum
        self.sums = self.counts = self.outliers = 0

    def update(self, outputs, labels, network) -> None:
        features = outputs.features[self.layers[0]].double()
        labels = labels_at(labels, features.shape[2:])
        masks = torch.stack([labels == c for c in range(outputs.logits.shape[1])]).double()
        self.sums = self.sums + torch.einsum("knhw,ndhw->kd", masks, features)
        self.counts = self.counts + masks.sum(dim=(1, 2, 3))
        self.outliers = self.outliers + (labels == 254).sum().double()

    def reduce(self) -> None:
        from mmengine.dist import all_reduce

        for value in (self.sums, self.counts, self.outliers):
            all_reduce(value)

    def result(self) -> Statistics:
        if self.counts.sum() < self.minimum:
            raise ValueError(f"at least {self.minimum} pixels are needed")
        means = self.sums / self.counts.clamp(min=1)[:, None]
        tensors = {"means": means.float(), "counts": self.counts, "outliers": self.outliers}
        return Statistics("nearest-mean", tensors, {"layers": list(self.layers)})
