"""Input perturbation: a small step of the picture towards a higher confidence.

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
        images: `(N, 3, *)`, prepared.
        gradient: of what shall fall, shaped like the images.
        epsilon: step as a share of the full range of the picture.
        input_std: `(3,)` by which the images were divided, in units of 0..255; None: the step is
            not divided.

    Returns:
        Images shaped as before.
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
    """Images after a step down the gradient of an objective, and the outputs before it.

    Works where gradients are switched off, inference mode included. No parameter gets a gradient.

    Args:
        network: in evaluation mode, so that nothing in it changes.
        images: `(N, 3, *)`, prepared.
        objective: outputs to `()`, or to anything that is summed. A sum over the images keeps
            each image's step independent of the rest of the batch.
        epsilon: see `perturb`.
        layers: activations that the objective needs.

    Returns:
        Images `(N, 3, *)`, and detached outputs of the images as given.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # Tensors of inference mode take no part in gradients, their copies do.
        images = images.detach().clone().requires_grad_()
        outputs = network(images, layers)
        (gradient,) = torch.autograd.grad(objective(outputs).sum(), images)
    moved = perturb(images.detach(), gradient, epsilon, network.input_std)
    features = {name: value.detach() for name, value in outputs.features.items()}
    return moved, Outputs(outputs.logits.detach(), features)


def check_epsilon(epsilon: float) -> None:
    """Raise unless it is a step size.

    Raises:
        ValueError: it is negative.
    """
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be 0 or more, got {epsilon}")
