"""Running counts, means and covariances of vectors by class: one pass, mergeable, over ranks too.

Everything is kept centred on the running means and in float64, so that values far from zero lose
nothing. Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
Sample Variances", 1979.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ood_seg.detectors.ranks import is_distributed, max_over_ranks, sum_over_ranks
from ood_seg.labels import OUTLIER, split_labels
from ood_seg.losses._common import class_labels

_CHUNK = 1 << 16

Scatter = Literal["tied", "class", "none"]


class ClassMoments:
    """Moments of vectors `(P, D)`, each of a class 0..C-1.

    Memory is `C x D` for the means and, for the scatter (the sum of the outer products of centred
    vectors), `D x D` where it is tied, that is pooled within the classes, `C x D x D` where each
    class has its own, and nothing where none is asked for.

    Args:
        num_classes: C; 1 for moments of all vectors.
        scatter: `tied`, `class` or `none`.

    Attributes:
        counts: `(C,)` float64, vectors of each class.
        means: `(C, D)` float64, zero for a class without vectors; None before the first vector.
        scatter: `(D, D)`, `(C, D, D)` float64, or None.
    """

    def __init__(self, num_classes: int, *, scatter: Scatter = "tied") -> None:
        if not 1 <= num_classes <= OUTLIER:
            raise ValueError(f"num_classes must be 1 to {OUTLIER}, got {num_classes}")
        if scatter not in ("tied", "class", "none"):
            raise ValueError(f"scatter must be 'tied', 'class' or 'none', got {scatter!r}")
        self.num_classes = num_classes
        self.kind = scatter
        self.counts = torch.zeros(num_classes, dtype=torch.float64)
        self.means: Tensor | None = None
        self.scatter: Tensor | None = None

    @torch.no_grad()
    def update(self, values: Tensor, classes: Tensor | None = None) -> None:
        """Add vectors.

        Args:
            values: `(P, D)`, floating point.
            classes: `(P,)` integers 0..C-1; 254 (outlier) and 255 (ignored) are left out. None:
                all are of class 0.

        Raises:
            ValueError: shapes that do not fit, another D than before, or a label that is no class.
        """
        if classes is None:
            classes = torch.zeros(values.shape[:1], dtype=torch.int64, device=values.device)
        if values.ndim != 2 or values.shape[:1] != classes.shape:
            raise ValueError(
                "expected values (P, D) and classes (P,), got "
                f"{tuple(values.shape)} and {tuple(classes.shape)}"
            )
        self._start(values.shape[1], values.device)
        for some, labels in zip(values.split(_CHUNK), classes.split(_CHUNK), strict=True):
            known = split_labels(labels)[0]
            labels = class_labels(labels[known], known[known], self.num_classes)
            self._add_chunk(some[known].double(), labels)

    def merge(self, other: ClassMoments) -> None:
        """Add the vectors that `other` has seen, which stays as it is.

        Raises:
            ValueError: `other` has other classes, another D or another kind of scatter.
        """
        if (other.num_classes, other.kind) != (self.num_classes, self.kind):
            raise ValueError(
                f"moments of {other.num_classes} classes ({other.kind}) do not merge into those "
                f"of {self.num_classes} ({self.kind})"
            )
        if other.means is not None:
            self._start(other.means.shape[1], other.means.device)
            device = self.counts.device
            scatter = None if other.scatter is None else other.scatter.to(device)
            self._absorb(other.counts.to(device), other.means.to(device), scatter)

    @torch.no_grad()
    def reduce(self) -> None:
        """Give every process of `torch.distributed` the moments of all; collective.

        First the means of all are found; then each process moves its scatter to those means,
        where scatters simply add.
        """
        if not is_distributed():
            return
        width = 0 if self.means is None else self.means.shape[1]
        width = int(max_over_ranks(torch.tensor(width)))
        if not width:
            return
        self._start(width, self.counts.device)
        counts = sum_over_ranks(self.counts)
        means = sum_over_ranks(self.counts[:, None] * self.means) / counts.clamp(min=1)[:, None]
        if self.scatter is not None:
            moved = self.scatter + self._outer(self.counts, self.means - means)
            self.scatter = sum_over_ranks(moved)
        self.counts, self.means = counts, means

    def covariance(self, *, ddof: int = 0) -> Tensor:
        """Scatter over `count - ddof`: `(D, D)` where tied, else `(C, D, D)`.

        A class with `count <= ddof` has NaN.

        Raises:
            ValueError: there were no vectors, or no scatter is kept.
        """
        if self.scatter is None:
            raise ValueError(
                "no scatter is kept (scatter='none')" if self.means is not None else "no vectors"
            )
        counts = self.counts.sum() if self.kind == "tied" else self.counts[:, None, None]
        freedom = counts - ddof
        return self.scatter / freedom.where(freedom > 0, torch.nan)

    def pooled(self) -> ClassMoments:
        """The moments of all vectors as one class, with their total scatter."""
        total = ClassMoments(1, scatter="none" if self.kind == "none" else "tied")
        if self.means is not None:
            count = self.counts.sum(dim=0, keepdim=True)
            total.counts = count
            total.means = (self.counts @ self.means / count.clamp(min=1)).unsqueeze(0)
            if self.scatter is not None:
                within = self.scatter if self.kind == "tied" else self.scatter.sum(dim=0)
                apart = self.means - total.means
                total.scatter = within + (self.counts[:, None] * apart).T @ apart
        return total

    def _start(self, width: int, device: torch.device) -> None:
        if self.means is not None:
            if self.means.shape[1] != width:
                raise ValueError(f"vectors had {self.means.shape[1]} values so far, now {width}")
            return
        options = {"dtype": torch.float64, "device": device}
        self.counts = self.counts.to(device)
        self.means = torch.zeros(self.num_classes, width, **options)
        if self.kind == "tied":
            self.scatter = torch.zeros(width, width, **options)
        elif self.kind == "class":
            self.scatter = torch.zeros(self.num_classes, width, width, **options)

    def _add_chunk(self, values: Tensor, classes: Tensor) -> None:
        values, classes = values.to(self.counts.device), classes.to(self.counts.device)
        counts = torch.bincount(classes, minlength=self.num_classes).double()
        sums = torch.zeros_like(self.means).index_add_(0, classes, values)
        means = sums / counts.clamp(min=1)[:, None]
        centred = values - means[classes] if self.scatter is not None else None
        if self.kind == "tied":
            scatter = centred.T @ centred
        elif self.kind == "class":
            scatter = torch.zeros_like(self.scatter)
            for index in counts.nonzero().flatten().tolist():
                part = centred[classes == index]
                scatter[index] = part.T @ part
        else:
            scatter = None
        self._absorb(counts, means, scatter)

    def _absorb(self, counts: Tensor, means: Tensor, scatter: Tensor | None) -> None:
        total = self.counts + counts
        share = counts / total.clamp(min=1)
        change = means - self.means
        if scatter is not None:
            self.scatter = self.scatter + scatter + self._outer(self.counts * share, change)
        self.means = self.means + share[:, None] * change
        self.counts = total

    def _outer(self, weights: Tensor, vectors: Tensor) -> Tensor:
        """Weighted outer products of `(C, D)` vectors, summed over classes where tied."""
        weighted = weights[:, None] * vectors
        if self.kind == "tied":
            return weighted.T @ vectors
        return weighted[:, :, None] * vectors[:, None, :]


def reduced(moments: ClassMoments | None, *, scatter: Scatter = "tied") -> ClassMoments | None:
    """The moments of all processes; one that has seen no batch, and knows no C, brings None.

    Args:
        moments: of this process.
        scatter: what they keep.

    Returns:
        The same moments on each process; None where none has seen a batch.
    """
    num_classes = 0 if moments is None else moments.num_classes
    num_classes = int(max_over_ranks(torch.tensor(num_classes)))
    if num_classes:
        moments = moments or ClassMoments(num_classes, scatter=scatter)
        moments.reduce()
    return moments
