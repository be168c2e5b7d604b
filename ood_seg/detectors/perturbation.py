"""Input perturbation: a small step of the image towards higher confidence.

Source: Liang, Li and Srikant, "Enhancing The Reliability of Out-of-distribution Image Detection
in Neural Networks", ICLR 2018 (ODIN), and its released code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ood_seg.detectors.network import Network, Outputs


def perturb(
    images: Tensor, gradient: Tensor, epsilon: float, input_std: Tensor | None = None
) -> Tensor:
    """`x - epsilon * sign(gradient) / std`, where the sign of zero is +1 as in the released code.

    Args:
        images: `(N, 3, *)`, preprocessed.
        gradient: of the quantity to decrease, shaped like the images.
        epsilon: step as a share of the full range of the image.
        input_std: `(3,)` by which the images were divided, in units of 0..255; None: the step is
            not divided.

    Returns:
        Images of the same shape.
    """
    step = torch.where(gradient >= 0, epsilon, -epsilon).to(images.dtype)
    if input_std is not None:
        step = step * (255 / input_std.to(images)).view(-1, *[1] * (images.ndim - 2))
    return images - step


def perturbed_images(
    network: Network,
    images: Tensor,
    objective: Callable[[Outputs], Tensor],
    epsilon: float,
    layers: Sequence[str] = (),
) -> tuple[Tensor, Outputs]:
    """Images after a step against the gradient of an objective, and the outputs before it.

    Works where gradients are disabled, also in inference mode. No parameter gets a gradient.

    Args:
        network: in evaluation mode, so that its state does not change.
        images: `(N, 3, *)`, preprocessed.
        objective: outputs to a tensor, which is summed, so that the step of an image does not
            depend on the rest of the batch.
        epsilon: see `perturb`.
        layers: activations that the objective needs.

    Returns:
        Images `(N, 3, *)`, and detached outputs of the unperturbed images.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # Inference tensors cannot require gradients, but their copies can.
        images = images.detach().clone().requires_grad_()
        outputs = network(images, layers)
        (gradient,) = torch.autograd.grad(objective(outputs).sum(), images)
    moved = perturb(images.detach(), gradient, epsilon, network.input_std)
    features = {name: value.detach() for name, value in outputs.features.items()}
    return moved, Outputs(outputs.logits.detach(), features)


def check_epsilon(epsilon: float) -> None:
    """Raise `ValueError` unless the step size is at least 0."""
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be at least 0, got {epsilon}")
