"""Known-class datasets whose label images use a numbering of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from mmseg.datasets import BaseSegDataset

from ood_seg.datasets.listing import (
    DATASET_IMAGE_SUFFIXES,
    Listing,
    pair_by_stem,
    require_no_problems,
)


def sample_infos(listing: Listing, label_map: Mapping[int, int], *, num_classes: int) -> list[dict]:
    """Turn pairs into mmseg's data infos with the raw-value map of the dataset."""
    return [
        {
            "img_path": str(image),
            "seg_map_path": str(mask),
            "label_map": dict(label_map),
            "label_map_is_complete": True,
            "num_classes": num_classes,
            "reduce_zero_label": False,
            "seg_fields": [],
        }
        for image, mask in listing.pairs
    ]


class RawLabelDataset(BaseSegDataset):
    """Two folders with the same stems, whose raw label values `LABEL_MAP` maps to classes.

    `metainfo=dict(classes=...)` selects among these classes. Folders are on a local disk.

    Args:
        img_suffix: ending of the images, or several.
        seg_map_suffix: ending of the label images.
        expected_count: number of pairs that there must be; None accepts any but zero.
        **kwargs: as in mmseg's `BaseSegDataset`.

    Raises:
        ValueError: missing folder, missing partners, wrong count or empty dataset, in one message.
    """

    LABEL_MAP: ClassVar[dict[int, int]] = {}

    def __init__(
        self,
        *,
        img_suffix: str | Sequence[str] = DATASET_IMAGE_SUFFIXES,
        seg_map_suffix: str = ".png",
        expected_count: int | None = None,
        **kwargs,
    ) -> None:
        self.expected_count = expected_count
        super().__init__(img_suffix=img_suffix, seg_map_suffix=seg_map_suffix, **kwargs)

    def list_samples(self) -> Listing:
        """Pair the files below `data_prefix`."""
        return pair_by_stem(
            Path(self.data_prefix["img_path"]),
            Path(self.data_prefix["seg_map_path"]),
            image_suffixes=self.img_suffix,
            mask_suffixes=self.seg_map_suffix,
        )

    def load_data_list(self) -> list[dict]:
        """List the samples; called by mmengine."""
        listing = self.list_samples()
        require_no_problems(listing, name=type(self).__name__, expected_count=self.expected_count)
        # mmseg's map is from its classes to the chosen ones, so it is applied after the raw values.
        chosen = self.label_map or {}
        composed = {raw: chosen.get(label, label) for raw, label in self.LABEL_MAP.items()}
        return sample_infos(listing, composed, num_classes=len(self.metainfo["classes"]))
