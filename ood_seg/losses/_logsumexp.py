"""Logsumexps over classes, with an analytic gradient that is written in blocks.

The energy losses are functions of a few numbers per pixel: the logsumexp over classes, the logit
of the label and, for outliers, logsumexps with the log prior added. `pixel_sums` computes these.
The forward pass reads the logits once; the backward pass reads them again and writes their
gradient once, in their own dtype. No other tensor is as large as the logits, whereas autograd
would allocate several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Pixels per block: on a CPU all classes of a block fit into the cache; on a GPU few launches.
_CPU_BLOCK, _GPU_BLOCK = 2**14, 2**20


class PixelSums(NamedTuple):
    """See `pixel_sums`."""

    logsumexps: Tensor
    picked: Tensor | None
    shifted: Tensor | None
    means: Tensor | None


def pixel_sums(
    logits: Tensor,
    temperature: float = 1.0,
    *,
    classes: Tensor | None = None,
    mask: Tensor | None = None,
    shifts: Tensor | None = None,
    uniform: bool = False,
) -> PixelSums:
    """Logsumexps over the classes of every pixel, differentiable once.

    Args:
        logits: `f`, `(N, C, *)`; half precision is computed in float32.
        temperature: `T > 0`.
        classes: `(N, *)`, 0..C-1: which logit to pick; or None.
        mask: `(N, *)` bool: the M pixels for the next two, required with these.
        shifts: `s`, `(R, C)`, may hold `-inf`; or None. No gradient reaches it.
        uniform: whether `means` is computed.

    Returns:
        `logsumexps`: `logsumexp(f / T)`, `(N, *)`. `picked`: `f` of `classes`, `(N, *)`, or None.
        `shifted`: `logsumexp(f + s_r)` of the masked pixels in order, `(R, M)`, or None.
        `means`: mean of `f` over the classes, of the same pixels, `(M,)`, or None.

    Raises:
        ValueError: the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}")
    size = (logits.shape[0], *logits.shape[2:])
    # (S, C, P): images and their pixels. Image-level logits (N, C) become N pixels of one image.
    flat = logits.t().unsqueeze(0) if logits.ndim == 2 else logits.flatten(2)
    if classes is not None:
        classes = classes.reshape(len(flat), 1, flat.shape[2])
    positions: list[Tensor] = []
    if shifts is not None or uniform:
        assert mask is not None
        rows = mask.reshape(len(flat), flat.shape[2])
        positions = [row.nonzero().squeeze(1) for row in rows]
    sums, picked, shifted, means = _PixelSums.apply(
        flat, temperature, classes, shifts, uniform, *positions
    )
    picked = None if picked is None else picked.view(size)
    return PixelSums(sums.view(size), picked, shifted, means)


class _PixelSums(torch.autograd.Function):
    """`pixel_sums` of `(S, C, P)`; positions `(M_s,)` of the masked pixels of each image."""

    @staticmethod
    def forward(
        ctx: Any,
        logits: Tensor,
        temperature: float,
        classes: Tensor | None,
        shifts: Tensor | None,
        uniform: bool,
        *positions: Tensor,
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        sums = logits.new_empty((logits.shape[0], logits.shape[2]), dtype=dtype)
        for image, part in _blocks(logits):
            block = _scaled(logits[image, :, part], temperature, dtype)
            torch.logsumexp(block, dim=0, out=sums[image, part])
        picked = None if classes is None else logits.gather(1, classes).squeeze(1).to(dtype)
        shifted = None
        if shifts is not None:
            shifts = shifts.to(dtype)
            values = [
                (logits[image].index_select(1, chosen).to(dtype) + shift[:, None]).logsumexp(dim=0)
                for shift in shifts
                for image, chosen in _chosen_blocks(positions)
            ]
            shifted = torch.cat([sums.new_empty(0), *values]).view(len(shifts), -1)
        means = None
        if uniform:
            values = [
                logits[image].index_select(1, chosen).to(dtype).mean(dim=0)
                for image, chosen in _chosen_blocks(positions)
            ]
            means = torch.cat([sums.new_empty(0), *values])
        ctx.temperature = temperature
        ctx.save_for_backward(logits, sums, classes, shifts, shifted, *positions)
        ctx.set_materialize_grads(False)
        return sums, picked, shifted, means

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any,
        of_sums: Tensor | None,
        of_picked: Tensor | None,
        of_shifted: Tensor | None,
        of_means: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        logits, sums, classes, shifts, shifted, *positions = ctx.saved_tensors
        gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
        weights = torch.zeros_like(sums) if of_sums is None else of_sums / ctx.temperature
        for image, part in _blocks(logits):
            block = _scaled(logits[image, :, part], ctx.temperature, sums.dtype)
            block = (block - sums[image, part]).exp_().mul_(weights[image, part])
            if of_picked is not None:
                block.scatter_add_(0, classes[image, :, part], of_picked[image, part][None])
            gradient[image, :, part] = block
        start = 0
        for image, chosen in _chosen_blocks(positions):
            span = slice(start, start := start + len(chosen))
            total = sums.new_zeros(logits.shape[1], len(chosen))
            if of_means is not None:
                total += of_means[span] / len(total)
            if of_shifted is not None:
                rows = logits[image].index_select(1, chosen).to(sums.dtype)
                for shift, value, weight in zip(shifts, shifted, of_shifted, strict=True):
                    softmax = (rows + shift[:, None]).sub_(value[span]).exp_()
                    total.addcmul_(softmax, weight[span].expand_as(rows))
            gradient[image].index_add_(1, chosen, total.to(gradient.dtype))
        return gradient, *[None] * (4 + len(positions))


def _scaled(block: Tensor, temperature: float, dtype: torch.dtype) -> Tensor:
    block = block.to(dtype)
    return block if temperature == 1 else block / temperature


def _block_size(device: torch.device) -> int:
    return _CPU_BLOCK if device.type == "cpu" else _GPU_BLOCK


def _blocks(logits: Tensor) -> Iterator[tuple[int, slice]]:
    """Every image of `(S, C, P)` with slices of its pixels."""
    size = _block_size(logits.device)
    for image in range(logits.shape[0]):
        for start in range(0, logits.shape[2], size):
            yield image, slice(start, start + size)


def _chosen_blocks(positions: Sequence[Tensor]) -> Iterator[tuple[int, Tensor]]:
    """Every image with blocks of its chosen positions."""
    for image, chosen in enumerate(positions):
        for part in chosen.split(_block_size(chosen.device)):
            yield image, part
