"""Samples of a dataset of which some may be unreadable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
from mmengine.dataset import pseudo_collate
from torch.utils.data import Dataset


@dataclass(frozen=True)
class Unreadable:
    """Stands for a sample that cannot be read, with the reason, which names the file."""

    reason: str


class ReadableSamples(Dataset):
    """A dataset that gives an `Unreadable` where the image or label file is bad.

    For passes that leave such a sample out and report it. Any other error is raised.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset: Any = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:
        try:
            return self.dataset[position]
        except (ValueError, OSError, cv2.error) as error:
            return Unreadable(str(error))


def collated_with_reasons(samples: Sequence[Any]) -> tuple[dict[str, Any], list[str]]:
    """Collate the samples that can be read, and list why the others cannot."""
    readable = [one for one in samples if not isinstance(one, Unreadable)]
    batch = pseudo_collate(readable) if readable else {"inputs": [], "data_samples": []}
    return batch, [one.reason for one in samples if isinstance(one, Unreadable)]
