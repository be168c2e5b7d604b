"""Running counts, means and covariances of vectors by class: one pass, mergeable over ranks.

All sums are centred on the running means and kept in float64, so that values far from zero lose no
precision. Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for
Computing Sample Variances", 1979.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ood_seg.detectors.ranks import from_all_ranks, is_distributed
from ood_seg.labels import OUTLIER, split_labels
from ood_seg.losses._common import class_labels

_CHUNK = 1 << 16

Scatter = Literal["tied", "class", "none"]


class ClassMoments:
    """Moments of vectors `(P, D)`, each of a class 0..C-1.

    Memory is `C x D` for the means. The scatter (sum of the outer products of centred vectors)
    takes `D x D` if it is tied, that is, pooled within the classes, `C x D x D` if each class has
    its own, and nothing for `none`.

    Args:
        num_classes: C; 1 for moments of all vectors.
        scatter: `tied`, `class` or `none`.

    Attributes:
        counts: `(C,)` float64, number of vectors of each class.
        means: `(C, D)` float64, zero for a class without vectors; D is 0 before the first vector.
        scatter: `(D, D)`, `(C, D, D)` float64, or None.

    Raises:
        ValueError: another kind of scatter, or a number of classes that labels cannot hold.
    """

    def __init__(self, num_classes: int, *, scatter: Scatter = "tied") -> None:
        if not 1 <= num_classes <= OUTLIER:
            raise ValueError(f"num_classes must be 1 to {OUTLIER}, got {num_classes}")
        if scatter not in ("tied", "class", "none"):
            raise ValueError(f"scatter must be 'tied', 'class' or 'none', got {scatter!r}")
        self.num_classes = num_classes
        self.kind = scatter
        self.counts = torch.zeros(num_classes, dtype=torch.float64)
        self.means = torch.zeros(num_classes, 0, dtype=torch.float64)
        self.scatter: Tensor | None = None

    @torch.no_grad()
    def update(self, values: Tensor, classes: Tensor | None = None) -> None:
        """Add vectors.

        Args:
            values: `(P, D)`, floating point.
            classes: `(P,)` integers 0..C-1; 254 (outlier) and 255 (ignored) are left out. None:
                all belong to class 0.

        Raises:
            ValueError: the shapes do not match, D changed, or a label is not a class.
        """
        if classes is None:
            classes = torch.zeros(values.shape[:1], dtype=torch.int64, device=values.device)
        if values.ndim != 2 or values.shape[:1] != classes.shape:
            raise ValueError(
                "expected values (P, D) and classes (P,), got "
                f"{tuple(values.shape)} and {tuple(classes.shape)}"
            )
        self._start(values.shape[1], values.device)
        for chunk, labels in zip(values.split(_CHUNK), classes.split(_CHUNK), strict=True):
            known = split_labels(labels)[0]
            labels = class_labels(labels[known], known[known], self.num_classes)
            self._add_chunk(chunk[known].double(), labels)

    def merge(self, other: ClassMoments) -> None:
        """Add the vectors of `other`, which is not modified.

        Raises:
            ValueError: the number of classes, D or the kind of scatter differs.
        """
        if (other.num_classes, other.kind) != (self.num_classes, self.kind):
            raise ValueError(
                f"cannot merge moments of {other.num_classes} classes ({other.kind}) into those "
                f"of {self.num_classes} ({self.kind})"
            )
        if other.means.shape[1]:
            self._start(other.means.shape[1], other.means.device)
            device = self.counts.device
            scatter = None if other.scatter is None else other.scatter.to(device)
            self._absorb(other.counts.to(device), other.means.to(device), scatter)

    def cpu(self) -> ClassMoments:
        """Move to the CPU; returns the moments themselves."""
        self.counts, self.means = self.counts.cpu(), self.means.cpu()
        self.scatter = None if self.scatter is None else self.scatter.cpu()
        return self

    def covariance(self, *, ddof: int = 0) -> Tensor:
        """Scatter over `count - ddof`: `(D, D)` if tied, else `(C, D, D)`.

        Classes with `count <= ddof` are NaN.

        Raises:
            ValueError: there were no vectors, or no scatter is kept.
        """
        if self.scatter is None:
            raise ValueError(
                "no scatter is kept (scatter='none')" if self.means.shape[1] else "no vectors"
            )
        counts = self.counts.sum() if self.kind == "tied" else self.counts[:, None, None]
        freedom = counts - ddof
        return self.scatter / freedom.where(freedom > 0, torch.nan)

    def pooled(self) -> ClassMoments:
        """The moments of all vectors as one class, with their total scatter."""
        total = ClassMoments(1, scatter="none" if self.kind == "none" else "tied")
        total.counts = self.counts.sum(dim=0, keepdim=True)
        total.means = (self.counts @ self.means / total.counts.clamp(min=1)).unsqueeze(0)
        if self.scatter is not None:
            within = self.scatter if self.kind == "tied" else self.scatter.sum(dim=0)
            between = self.means - total.means
            total.scatter = within + (self.counts[:, None] * between).T @ between
        return total

    def _start(self, width: int, device: torch.device) -> None:
        if self.means.shape[1]:
            if self.means.shape[1] != width:
                raise ValueError(
                    f"vectors must have {self.means.shape[1]} values as before, got {width}"
                )
            return
        self.counts = self.counts.to(device)
        self.means = self.counts.new_zeros(self.num_classes, width)
        if self.kind == "tied":
            self.scatter = self.counts.new_zeros(width, width)
        elif self.kind == "class":
            self.scatter = self.counts.new_zeros(self.num_classes, width, width)

    def _add_chunk(self, values: Tensor, classes: Tensor) -> None:
        values, classes = values.to(self.counts.device), classes.to(self.counts.device)
        counts = torch.bincount(classes, minlength=self.num_classes).double()
        sums = torch.zeros_like(self.means).index_add_(0, classes, values)
        means = sums / counts.clamp(min=1)[:, None]
        scatter = None
        if self.scatter is not None:
            centred = values - means[classes]
            if self.kind == "tied":
                scatter = centred.T @ centred
            else:
                scatter = torch.zeros_like(self.scatter)
                for index in counts.nonzero().flatten().tolist():
                    part = centred[classes == index]
                    scatter[index] = part.T @ part
        self._absorb(counts, means, scatter)

    def _absorb(self, counts: Tensor, means: Tensor, scatter: Tensor | None) -> None:
        total = self.counts + counts
        share = counts / total.clamp(min=1)
        change = means - self.means
        if self.scatter is not None and scatter is not None:
            self.scatter = self.scatter + scatter + self._outer(self.counts * share, change)
        self.means = self.means + share[:, None] * change
        self.counts = total

    def _outer(self, weights: Tensor, vectors: Tensor) -> Tensor:
        """Weighted outer products of `(C, D)` vectors, summed over classes if tied."""
        weighted = weights[:, None] * vectors
        if self.kind == "tied":
            return weighted.T @ vectors
        return weighted[:, :, None] * vectors[:, None, :]


def reduced(moments: ClassMoments | None) -> ClassMoments | None:
    """The moments of all processes of a distributed run, equal on each and on the CPU; collective.

    Args:
        moments: of this process; None if it has had no batch and does not know C.

    Returns:
        None if no process has had a batch. In a single process the moments themselves.
    """
    if not is_distributed():
        return moments
    total: ClassMoments | None = None
    for part in from_all_ranks(None if moments is None else moments.cpu()):
        if total is None:
            total = part
        elif part is not None:
            total.merge(part)
    return total
