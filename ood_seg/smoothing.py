"""Gaussian smoothing of score maps, a separate step after the score."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ood_seg.arrays import arrays_too
from ood_seg.precision import without_autocast


def gaussian_kernel(
    kernel_size: int,
    sigma: float,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """One-dimensional Gaussian weights that sum to one.

    Args:
        kernel_size: odd number of taps.
        sigma: standard deviation in pixels, positive.
        dtype: dtype of the result.
        device: device of the result.

    Returns:
        `(kernel_size,)`.

    Raises:
        ValueError: the size is even or not positive, or sigma is not positive.
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and positive, got {kernel_size}")
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    offsets = torch.arange(kernel_size, dtype=dtype, device=device) - kernel_size // 2
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    return weights / weights.sum()


@arrays_too
@without_autocast
def gaussian_smooth(scores: Tensor, kernel_size: int = 7, sigma: float = 1.0) -> Tensor:
    """Blur score maps with a separable Gaussian, borders reflected.

    The defaults are those of PEBAL (Tian et al., ECCV 2022, released code).

    Args:
        scores: `(N, H, W)`, floating point, tensor or NumPy array.
        kernel_size: odd number of taps; H and W must exceed half of it, as reflection requires.
        sigma: standard deviation in pixels.

    Returns:
        `(N, H, W)`, kind, dtype and device of the input.

    Raises:
        ValueError: another number of dimensions, a map smaller than half the kernel, or an
            argument that `gaussian_kernel` refuses.
    """
    if scores.ndim != 3:
        raise ValueError(f"scores must be (N, H, W), got {tuple(scores.shape)}")
    kernel = gaussian_kernel(kernel_size, sigma, dtype=scores.dtype, device=scores.device)
    reach = kernel_size // 2
    if min(scores.shape[-2:]) <= reach:
        raise ValueError(
            f"a {kernel_size}-tap blur needs maps of at least {reach + 1} pixels per side, "
            f"got {tuple(scores.shape[-2:])}; use a smaller kernel_size"
        )
    maps = F.pad(scores.unsqueeze(1), (reach, reach, reach, reach), mode="reflect")
    maps = F.conv2d(maps, kernel.view(1, 1, 1, -1))
    return F.conv2d(maps, kernel.view(1, 1, -1, 1)).squeeze(1)


class GaussianSmoothing(nn.Module):
    """Module form of `gaussian_smooth`.

    Args:
        kernel_size: odd number of taps.
        sigma: standard deviation in pixels.
    """

    def __init__(self, kernel_size: int = 7, sigma: float = 1.0) -> None:
        super().__init__()
        gaussian_kernel(kernel_size, sigma)  # raises for bad values now, not in the first batch
        self.kernel_size = kernel_size
        self.sigma = sigma

    def forward(self, scores: Tensor) -> Tensor:
        return gaussian_smooth(scores, self.kernel_size, self.sigma)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, sigma={self.sigma}"
