"""Labels and anomaly scores at full resolution, computed directly from small logits.

The usual way interpolates the logits to the image's size, then takes their arg-max, then scores
them: each step reads and writes a map of C channels (160 MB for 19 classes at 2048x1024). Here
blocks of a few rows pass through all steps while they are in the processor's cache, so that the
full-size logits are never held, and arg-max and score share their intermediate results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ood_seg import scores
from ood_seg.row_interpolation import RowInterpolation, RowSource

# On a CPU two blocks should fit into the cache of the cores. On a GPU the whole map is faster
# wherever it fits, because each operation costs a launch.
BLOCK_BYTES = {"cpu": 2**21, "cuda": 2**30}
MAX_CLASSES = 256  # of uint8 labels


@torch.no_grad()
def labels_and_scores(
    logits: Tensor,
    size: Sequence[int],
    score: Callable[[Tensor], Tensor],
    *,
    num_classes: int | None = None,
    align_corners: bool = False,
    input_size: Sequence[int] | None = None,
    padding: Sequence[int] = (0, 0, 0, 0),
    block_bytes: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Most likely class and anomaly score of every pixel of an image, from small logits.

    Equal to `F.interpolate(logits, size, mode="bilinear")`, `argmax(dim=1)` and `score(...)` in
    sequence: the interpolation multiplies and adds in the same order, so that the interpolated
    logits are in general bit-identical. Of equal maxima the first class is taken. `Energy`,
    `MaxSoftmax`, `MaxLogit`, `Entropy` and `GeneralizedEntropy` reuse the maximum of the arg-max;
    any other score is called on blocks of rows.

    Segmentors often interpolate twice, to the size of their input and from there to that of the
    image; with `input_size` both steps are done in blocks of rows.

    Args:
        logits: `(N, C', h, w)`. Half precision is computed in float32.
        size: height and width of the image.
        score: module or function `(N, C', *) -> (N, *)` whose value at a pixel depends on that
            pixel alone; a score with the attribute `pointwise = False` is refused.
        num_classes: C, the number of class channels, which come first; None: all. The score gets
            all channels.
        align_corners: as for `F.interpolate`.
        input_size: height and width of the network's input, padding included; None: a single
            interpolation to the size of the image.
        padding: pixels of the input outside the image: left, right, top, bottom.
        block_bytes: bytes of interpolated logits held at a time; None: `BLOCK_BYTES`. Memory
            beyond the results is a few times this (more only if a single row needs more).

    Returns:
        Labels `(N, H, W)` uint8 and scores `(N, H, W)`, float32 (float64 for float64 logits).
        Neither has a gradient. A NaN or infinite logit affects only the pixels interpolated from
        it: their score may be NaN, and their label is an arbitrary class.

    Raises:
        TypeError: the logits are not floating point.
        ValueError: the logits are not `(N, C', h, w)` or hold no pixel; there are no or more than
            256 classes; a size is not positive; the padding covers the whole input; the score
            depends on neighbouring pixels or returns another shape.
    """
    if not getattr(score, "pointwise", True):
        raise ValueError(
            f"{type(score).__name__} depends on neighbouring pixels and needs complete maps; "
            "interpolate the logits, then score them"
        )
    _check(logits, size, num_classes, input_size or size, padding)
    dtype = torch.promote_types(logits.dtype, torch.float32)
    height, width = size
    interpolation = partial(
        RowInterpolation, align_corners=align_corners, like=logits.new_empty(0, dtype=dtype)
    )
    steps = [interpolation(logits.shape[2], input_size or size, frame=padding)]
    if steps[0].size != (height, width):
        steps.append(interpolation(steps[0].size[0], size))
    if block_bytes is None:
        block_bytes = BLOCK_BYTES.get(logits.device.type, BLOCK_BYTES["cuda"])
    rows = max(1, block_bytes // (logits.shape[1] * width * dtype.itemsize))
    shape = (logits.shape[0], height, width)
    labels = torch.empty(shape, dtype=torch.uint8, device=logits.device)
    values = torch.empty(shape, dtype=dtype, device=logits.device)
    for image, image_labels, image_values in zip(logits, labels, values, strict=True):
        for start, block in _blocks(image, steps, rows, dtype):
            part = slice(start, start + block.shape[1])
            _finish(block, score, num_classes, image_labels[part], image_values[part])
    return labels, values


def _blocks(
    image: Tensor, steps: Sequence[RowInterpolation], rows: int, dtype: torch.dtype
) -> Iterator[tuple[int, Tensor]]:
    """Blocks of interpolated logits `(C', <= rows, W)`, each with the index of its first row."""
    height = steps[-1].size[0]
    if rows >= height:
        whole = image.to(dtype)
        for step in steps:
            whole = step.whole(whole)
        yield 0, whole
        return
    source: RowSource = lambda start, stop: image[:, start:stop].to(dtype)  # noqa: E731
    for step in steps:
        source = partial(step.rows, source)
    for start in range(0, height, rows):
        yield start, source(start, min(start + rows, height))


def _finish(
    block: Tensor,
    score: Callable[[Tensor], Tensor],
    num_classes: int | None,
    labels: Tensor,
    values: Tensor,
) -> None:
    """Write the labels and the scores of a block.

    Args:
        block: `(C', R, W)`; may be overwritten.
        score: as for `labels_and_scores`.
        num_classes: as for `labels_and_scores`.
        labels: `(R, W)`, filled.
        values: `(R, W)`, filled.
    """
    top = _arg_max(block[:num_classes], labels)
    shared = None if num_classes not in (None, len(block)) else _SHARED.get(type(score))
    if shared is not None:
        values.copy_(shared(score, block, top, labels))
        return
    result = score(block[None])
    if result.shape != (1, *values.shape):
        raise ValueError(
            f"score must map (N, C, *) to (N, *): {(1, *block.shape)} to "
            f"{(1, *values.shape)}, got {tuple(result.shape)}"
        )
    values.copy_(result[0])


def _arg_max(block: Tensor, labels: Tensor) -> Tensor:
    """Maxima over the classes; fills `labels` with the first class of each maximum."""
    if block.is_cuda:
        top, index = block.max(dim=0)
        labels.copy_(index)
        return top
    # Ten times faster than torch's arg-max over any dimension but the last.
    top = block.amax(dim=0)
    is_top = torch.eq(block, top, out=torch.empty_like(block))
    last = len(block) - 1
    ranks = torch.arange(last, -1, -1, dtype=block.dtype, device=block.device)
    labels.copy_(last - is_top.mul_(ranks.view(-1, 1, 1)).amax(dim=0))
    return top


def _exponents(block: Tensor, top: Tensor, temperature: float) -> Tensor:
    """`(f - max f) / T`, written over the logits."""
    differences = block.sub_(top)
    return differences if temperature == 1 else differences.div_(temperature)


def _energy(score: scores.Energy, block: Tensor, top: Tensor, labels: Tensor) -> Tensor:
    total = _exponents(block, top, score.temperature).exp_().sum(dim=0)
    return -(total.log_() * score.temperature + top)


def _max_softmax(score: scores.MaxSoftmax, block: Tensor, top: Tensor, labels: Tensor) -> Tensor:
    return 1 - 1 / _exponents(block, top, score.temperature).exp_().sum(dim=0)


def _max_logit(score: scores.MaxLogit, block: Tensor, top: Tensor, labels: Tensor) -> Tensor:
    return -top


def _entropy(score: scores.Entropy, block: Tensor, top: Tensor, labels: Tensor) -> Tensor:
    exponents = _exponents(block, top, 1.0)
    exponentials = exponents.exp()
    total = exponentials.sum(dim=0)
    return total.log() - exponentials.mul_(exponents).sum(dim=0) / total


def _generalized_entropy(
    score: scores.GeneralizedEntropy, block: Tensor, top: Tensor, labels: Tensor
) -> Tensor:
    """With `e = p / max p`, which can be tiny only for the classes other than the label."""
    logs = block.sub_(top).scatter_(0, labels.long()[None], -torch.inf)
    second = logs.amax(dim=0).clamp_(min=torch.finfo(logs.dtype).min)
    parts = (logs - second).exp_()
    log_others = parts.sum(dim=0).log_() + second
    total = 1 + log_others.exp()
    # p (1 - p) is e (total - e) / total^2; for the label, whose e is 1, it is others / total^2.
    complements = torch.sub(total, parts.mul_(second.exp()), out=parts)
    terms = logs.add_(complements.log_()).mul_(score.gamma).exp_()
    if score.top_classes is not None and score.top_classes < len(block):
        terms = terms.topk(score.top_classes - 1, dim=0).values  # the label's term is the largest
    terms = terms.sum(dim=0) + (score.gamma * log_others).exp_()
    return terms * total.pow_(-2 * score.gamma)


# By exact type: a subclass may compute something else.
_SHARED: dict[type, Callable[[Any, Tensor, Tensor, Tensor], Tensor]] = {
    scores.Energy: _energy,
    scores.MaxSoftmax: _max_softmax,
    scores.MaxLogit: _max_logit,
    scores.Entropy: _entropy,
    scores.GeneralizedEntropy: _generalized_entropy,
}


def _check(
    logits: Tensor,
    size: Sequence[int],
    num_classes: int | None,
    input_size: Sequence[int],
    padding: Sequence[int],
) -> None:
    """Raise for invalid arguments of `labels_and_scores`."""
    if not torch.is_floating_point(logits):
        raise TypeError(f"logits must be floating point, got {logits.dtype}")
    if logits.ndim != 4 or 0 in logits.shape[1:]:
        raise ValueError(
            f"logits must be (N, C, h, w) with at least one pixel, got {tuple(logits.shape)}"
        )
    for name, value in (("size", size), ("input_size", input_size)):
        if len(value) != 2 or min(value) < 1:
            raise ValueError(f"{name} must be a positive height and width, got {tuple(value)}")
    channels = logits.shape[1]
    classes = channels if num_classes is None else num_classes
    if not 1 <= classes <= min(channels, MAX_CLASSES):
        raise ValueError(
            f"labels are uint8 and need 1 to {MAX_CLASSES} classes among the {channels} channels "
            f"of the logits, got {classes}; interpolate the logits for more"
        )
    if len(padding) != 4 or min(padding) < 0:
        raise ValueError(f"padding must be left, right, top, bottom >= 0, got {tuple(padding)}")
    left, right, top, bottom = padding
    if left + right >= input_size[1] or top + bottom >= input_size[0]:
        raise ValueError(f"padding {tuple(padding)} covers the whole input of {tuple(input_size)}")
