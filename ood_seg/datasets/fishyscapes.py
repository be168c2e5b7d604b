"""Fishyscapes validation datasets: Static (pasted objects), Lost and Found (real obstacles)."""

from __future__ import annotations

from mmseg.registry import DATASETS

from ood_seg.datasets.anomaly import AnomalyDataset
from ood_seg.datasets.layouts import (
    FISHYSCAPES_COUNTS,
    FISHYSCAPES_SUBSETS,
    LAYOUTS,
    check_choice,
    list_fishyscapes,
)
from ood_seg.datasets.listing import Listing


@DATASETS.register_module()
class FishyscapesDataset(AnomalyDataset):
    """A Fishyscapes validation dataset (Blum et al. 2021), by the published names or processed.

    Masks hold 0 known, 1 anomaly, 255 void. File names: see `layouts.list_fishyscapes`.

    Args:
        subset: 'static' (30 frames) or 'lost_and_found' (100 frames).
        layout: 'official', 'processed' (`original/`, `labels/`), or None to detect it.
        data_root: folder of the dataset.
        data_prefix: `seg_map_path`, folder of the `*_labels.png`, and `img_path`, the
            `leftImg8bit` folder of Lost and Found or the folder of composed Static images,
            where they are not below `data_root` under the published names.
        expected_count, **kwargs: as in `AnomalyDataset`.

    Raises:
        ValueError: see `AnomalyDataset`; also Static overlays (.npz) that were never composed,
            and several versions of Static side by side.
    """

    REMEDY = (
        "Expected the published file names or original/ and labels/ below data_root; "
        "expected_count=None accepts a part of the dataset. `ood-seg check-data` names its "
        "publisher."
    )

    def __init__(
        self,
        *,
        subset: str,
        layout: str | None = None,
        expected_count: int | str | None = "official",
        **kwargs,
    ) -> None:
        check_choice("subset", subset, FISHYSCAPES_SUBSETS)
        if layout is not None:
            check_choice("layout", layout, LAYOUTS)
        self.subset = subset
        self.layout = layout
        super().__init__(expected_count=expected_count, **kwargs)

    @property
    def official_count(self) -> int:
        """30 or 100."""
        return FISHYSCAPES_COUNTS[self.subset]

    def list_samples(self) -> Listing:
        """List the frames of the subset in either layout."""
        return list_fishyscapes(
            self.root,
            self.subset,
            self.layout,
            label_folder=self.prefix("seg_map_path"),
            image_folder=self.prefix("img_path"),
        )
