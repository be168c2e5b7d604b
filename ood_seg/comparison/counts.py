"""Counts of one score on one dataset, of fixed size, with time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ood_seg.comparison.measuring import Cost
from ood_seg.evaluation.summary import pixel_section
from ood_seg.metrics.pixel import split_scores
from ood_seg.metrics.rank_metrics import metrics_with_hints
from ood_seg.metrics.streaming import ScoreTable

_TABLE = "table."


@dataclass
class ScoreCounts:
    """Counts of the scores of the images so far, in less than 10 MiB.

    Attributes:
        table: counts of the scores.
        images: number of images counted, in the order of the dataset.
        ignored: number of ignored pixels.
        seconds: of the score's own work on all images.
        memory: largest number of bytes for an image; None if not measured.
    """

    table: ScoreTable = field(default_factory=ScoreTable)
    images: int = 0
    ignored: int = 0
    seconds: float = 0.0
    memory: int | None = None

    def add(
        self, scores: np.ndarray | torch.Tensor, labels: np.ndarray | torch.Tensor, cost: Cost
    ) -> None:
        """Add the next image.

        Args:
            scores: `(H, W)`.
            labels: `(H, W)`: 0 known, 1 anomaly, 255 ignored.
            cost: of the scores.

        Raises:
            ValueError: a score is NaN or infinite, or the sizes differ.
        """
        split = split_scores(scores, labels)
        self.table.add(split.known, split.anomalous)
        self.ignored += split.num_ignored
        self.seconds += cost.seconds
        if cost.memory is not None:
            self.memory = max(cost.memory, self.memory or 0)
        self.images += 1

    def state(self) -> dict[str, np.ndarray]:
        """The counts as arrays, for `from_state`."""
        return {
            "images": np.array(self.images),
            "ignored": np.array(self.ignored),
            "seconds": np.array(self.seconds),
            "memory": np.array(np.nan if self.memory is None else self.memory),
            **{_TABLE + key: value for key, value in self.table.state().items()},
        }

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> ScoreCounts:
        """The counts that gave `state`."""
        table = {k.removeprefix(_TABLE): v for k, v in state.items() if k.startswith(_TABLE)}
        memory = float(state["memory"])
        return cls(
            ScoreTable.from_state(table),
            int(state["images"]),
            int(state["ignored"]),
            float(state["seconds"]),
            None if np.isnan(memory) else int(memory),
        )

    def pixels(self) -> dict[str, int]:
        """Number of pixels of each kind."""
        return {
            "known": self.table.num_known,
            "anomalous": self.table.num_anomalous,
            "ignored": self.ignored,
        }

    def described(self) -> dict[str, Any]:
        """Metrics as fractions of 1 with bounds, curves, time and memory.

        Warns:
            UserWarning: as `metrics_with_hints`.
        """
        counts = self.table.rank_counts()
        metrics_with_hints(counts, (0.95,), False)
        section = pixel_section(counts, {}, None, streaming=True, tprs=(0.95,))
        return {
            "images": self.images,
            "metrics": section["metrics"],
            "best_f1_threshold": section["best_f1_threshold"],
            "seconds_per_image": self.seconds / self.images if self.seconds else None,
            "memory": self.memory,
            "curves": section["curves"],
        }
