"""Bilinear interpolation that computes any rows of its result, equal to `F.interpolate`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

RowSource = Callable[[int, int], Tensor]
"""Rows `start` to `stop` of a map, `(C, stop - start, W)`."""


class Tap(NamedTuple):
    """The two source rows that a result row is mixed from, and their weights."""

    lower: int
    upper: int
    lower_weight: float
    upper_weight: Tensor  # zero-dimensional: torch.mul is faster with it than with a float


class RowInterpolation:
    """Bilinear interpolation of maps `(C, h, w)`, with a border cropped from its result.

    Columns are interpolated first, only for the source rows that are needed; then the rows of the
    result are mixed from them. The order of products and sums is that of `F.interpolate`, so that
    the results are in general bit-identical.

    Args:
        source_height: h.
        size: height and width of the result before cropping.
        frame: columns and rows to crop: left, right, top, bottom.
        align_corners: as for `F.interpolate`.
        like: a tensor with the device and dtype of the maps.

    Attributes:
        size: height and width `(H, W)` of the cropped result.
    """

    def __init__(
        self,
        source_height: int,
        size: Sequence[int],
        *,
        frame: Sequence[int] = (0, 0, 0, 0),
        align_corners: bool,
        like: Tensor,
    ) -> None:
        left, right, top, bottom = frame
        self.size = (size[0] - top - bottom, size[1] - left - right)
        self._source_height = source_height
        self._full_size = tuple(size)
        self._rows = slice(top, size[0] - bottom)
        self._columns = slice(left, size[1] - right)
        self._align_corners = align_corners
        self._like = like

    def rows(self, source: RowSource, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` of the result, `(C, stop - start, W)`."""
        taps = self._taps[start:stop]
        offset = taps[0].lower
        wide = self._widen(source(offset, taps[-1].upper + 1))[..., self._columns]
        result = wide.new_empty(wide.shape[0], len(taps), self.size[1])
        source_rows = wide.unbind(1)
        for row, tap in zip(result.unbind(1), taps, strict=True):
            torch.mul(source_rows[tap.upper - offset], tap.upper_weight, out=row)
            row.add_(source_rows[tap.lower - offset], alpha=tap.lower_weight)
        return result

    def whole(self, maps: Tensor) -> Tensor:
        """The complete result, `(C, h, w) -> (C, H, W)`."""
        result = F.interpolate(
            maps[None], size=self._full_size, mode="bilinear", align_corners=self._align_corners
        )[0]
        return result[:, self._rows, self._columns]

    def _widen(self, rows: Tensor) -> Tensor:
        """Interpolate the columns alone."""
        width = self._full_size[1]
        if rows.shape[-1] == width:
            return rows
        return F.interpolate(rows, size=width, mode="linear", align_corners=self._align_corners)

    @cached_property
    def _taps(self) -> list[Tap]:
        """Source rows and weights of each result row.

        The weights come from `F.interpolate` applied to unit vectors; computed separately they
        would round differently, by up to 6e-5 at row 1000.
        """
        count = self._source_height
        units = torch.eye(count, dtype=self._like.dtype, device=self._like.device)[None]
        weights = F.interpolate(
            units, size=self._full_size[0], mode="linear", align_corners=self._align_corners
        )[0, :, self._rows]
        lower = (weights > 0).int().argmax(dim=0)
        upper = (lower + 1).clamp(max=count - 1)
        lower_weights = weights.gather(0, lower[None])[0]
        upper_weights = weights.gather(0, upper[None])[0] * (upper > lower)
        columns = (lower.tolist(), upper.tolist(), lower_weights.tolist(), upper_weights.unbind())
        return [Tap(*row) for row in zip(*columns, strict=True)]
