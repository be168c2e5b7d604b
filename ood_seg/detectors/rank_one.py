"""RankFeat: energy of an activation map without its strongest rank-1 component."""

from __future__ import annotations

import torch
from torch import Tensor

from ood_seg.detectors.base import Detector
from ood_seg.detectors.linear_classifier import linear_classifier
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs
from ood_seg.detectors.pixels import activation
from ood_seg.precision import without_autocast
from ood_seg.scores import energy


@without_autocast
def without_rank_one(maps: Tensor) -> Tensor:
    """`X - s_1 u_1 v_1^T` of each image's matrix `X (D, pixels)`.

    Source: Song, Sebe and Wang, "RankFeat: Rank-1 Feature Removal for Out-of-distribution
    Detection", NeurIPS 2022, eq. 2. The singular vector is the first eigenvector of the smaller of
    `X X^T` and `X^T X` in float64, which is exact and much faster than an SVD.

    Args:
        maps: `(N, D, *)`, at least one spatial dimension.

    Returns:
        `(N, D, *)`.
    """
    matrices = maps.flatten(2)
    turned = matrices.shape[1] > matrices.shape[2]
    if turned:
        matrices = matrices.transpose(1, 2)
    product = matrices.double()
    vectors = torch.linalg.eigh(product @ product.transpose(1, 2)).eigenvectors[:, :, -1:]
    vectors = vectors.to(matrices.dtype)
    rest = matrices - vectors @ (vectors.transpose(1, 2) @ matrices)
    return (rest.transpose(1, 2) if turned else rest).reshape(maps.shape)


class RankFeat(Detector):
    """Energy after `without_rank_one` of the classifier's input.

    The component is that of the whole image, in dense networks as well, so that the score of a
    pixel depends on its image. A dense network uses the penultimate activation. In an image-level
    network, whose penultimate activation is one vector and has nothing but its rank-1 component,
    `layer` must name the map `(N, D, H, W)` whose mean over the image is the classifier's input
    (Block 4 of the paper). Earlier blocks are not supported, as the rest of the network would have
    to run again.

    Args:
        layer: name of the activation.
        temperature: of the energy.
    """

    def __init__(self, layer: str = PENULTIMATE, temperature: float = 1.0) -> None:
        super().__init__()
        self.layers = (layer,)
        self.temperature = temperature

    @torch.no_grad()
    def forward(self, outputs: Outputs, network: Network) -> Tensor:
        """Scores `(N, *)`: `(N, H, W)` of dense, `(N,)` of image-level networks.

        Raises:
            ValueError: the activation is not a map, or not the classifier's input.
        """
        (name,) = self.layers
        features = activation(outputs, name)
        if features.ndim < 3:
            raise ValueError(
                f"RankFeat removes a component of a map (N, D, H, W), layer {name!r} has "
                f"{tuple(features.shape)}; name the layer before pooling by `layer`"
            )
        width = linear_classifier(network).get_parameter("weight").shape[1]
        if features.shape[1] != width:
            raise ValueError(
                f"RankFeat needs the map that the classifier reads, {width} channels; layer "
                f"{name!r} has {tuple(features.shape)}"
            )
        rest = without_rank_one(features)
        if outputs.logits.ndim == 2:
            rest = rest.flatten(2).mean(dim=2)
        return energy(network.classify(rest), self.temperature)

    def extra_repr(self) -> str:
        return f"layer={self.layers[0]!r}, temperature={self.temperature}"
