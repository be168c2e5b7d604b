"""Base class of the anomaly evaluation datasets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset

from ood_seg.datasets.label_maps import EVALUATION_LABELS, checked_label_map
from ood_seg.datasets.layouts import check_choice
from ood_seg.datasets.listing import Listing, require_no_problems
from ood_seg.datasets.raw_labels import sample_infos


class AnomalyDataset(BaseSegDataset):
    """Evaluation dataset whose masks are loaded as 0 known, 1 anomaly, 255 ignored.

    A subclass overrides `list_samples`, and `official_count` and `default_label_map` where there
    are such. Images may differ in size. Folders are on a local disk.

    Args:
        data_root: folder of the dataset.
        data_prefix: overrides folder names of the layout: `img_path`, `seg_map_path`.
        expected_count: number of pairs that there must be (before `indices` select from them);
            'official' for the published number, None for any but zero.
        label_map: raw value in the masks -> 0, 1 or 255. `LoadCheckedLabels` refuses a mask with
            a raw value that is not a key.
        **kwargs: as in mmseg's `BaseSegDataset`.

    Raises:
        ValueError: everything that is wrong on disk in one message, by name: missing folder,
            missing partner, wrong count, empty dataset.
    """

    METAINFO: ClassVar[dict] = {
        "classes": ("known", "anomaly"),
        "palette": [[70, 130, 180], [220, 20, 60]],
    }
    REMEDY: ClassVar[str] = ""

    def __init__(
        self,
        *,
        data_root: str | None = None,
        data_prefix: Mapping[str, str] | None = None,
        expected_count: int | str | None = None,
        label_map: Mapping[int, int] | None = None,
        **kwargs,
    ) -> None:
        if data_root is None and not data_prefix:
            raise ValueError(f"{type(self).__name__}: data_root: expected a folder, got None")
        self.expected_count: int | None
        if isinstance(expected_count, str):
            check_choice("expected_count", expected_count, ("official",))
            self.expected_count = self.official_count
        else:
            self.expected_count = expected_count
        allowed = frozenset(EVALUATION_LABELS.values())
        self.evaluation_map = None if label_map is None else checked_label_map(label_map, allowed)
        super().__init__(data_root=data_root, data_prefix=dict(data_prefix or {}), **kwargs)

    @property
    def official_count(self) -> int | None:
        """Published number of pairs, None where there is none."""
        return None

    @property
    def root(self) -> Path:
        """Folder of the dataset."""
        return Path(self.data_root or ".")

    def prefix(self, key: str) -> Path | None:
        """Return the folder given for `img_path` or `seg_map_path`, or None."""
        folder = self.data_prefix.get(key)
        return Path(folder) if folder else None

    def list_samples(self) -> Listing:
        """Return the pairs and the problems."""
        raise NotImplementedError(f"{type(self).__name__} must override list_samples")

    def default_label_map(self) -> dict[int, int]:
        """Return the raw values of the masks, used if the config states none."""
        return EVALUATION_LABELS

    def load_data_list(self) -> list[dict]:
        """List the samples; called by mmengine."""
        listing = self.list_samples()
        require_no_problems(
            listing,
            name=f"{type(self).__name__} ({self.data_root or dict(self.data_prefix)})",
            expected_count=self.expected_count,
            remedy=self.REMEDY,
        )
        for note in listing.notes:
            print_log(f"{type(self).__name__}: {note}", logger="current")
        label_map = self.evaluation_map or self.default_label_map()
        return sample_infos(listing, label_map, num_classes=len(self.metainfo["classes"]))
