"""Comparison of many scores of one model, and of saved score maps, under one protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ood_seg.comparison.run import compare_scores

__all__ = ["compare_scores"]


def __getattr__(name: str) -> object:
    """Import `compare_scores`, which needs mmseg, when it is asked for."""
    if name != "compare_scores":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ood_seg.comparison.run import compare_scores

    return compare_scores
