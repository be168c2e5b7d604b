"""Lost and Found: small obstacles on the road, with the labels of its authors."""

from __future__ import annotations

from mmseg.registry import DATASETS

from ood_seg.datasets.anomaly import AnomalyDataset
from ood_seg.datasets.label_maps import LOST_AND_FOUND_IDS, LOST_AND_FOUND_TRAIN_IDS
from ood_seg.datasets.layouts import check_choice
from ood_seg.datasets.listing import Listing
from ood_seg.datasets.obstacle_layouts import (
    LOST_AND_FOUND_COUNTS,
    LOST_AND_FOUND_LABELS,
    list_lost_and_found,
)


@DATASETS.register_module()
class LostAndFoundDataset(AnomalyDataset):
    """A split of Lost and Found (Pinggera et al. 2016) in the published tree.

    Free road is known, obstacles are anomalous, all else is ignored: scores are compared on the
    road only. About 17 frames of the test split and 6 of the train split have no labelled
    pixel; they add nothing to pooled metrics. For the new labels that Fishyscapes drew for 100 of
    these images, see `FishyscapesDataset`.

    Args:
        split: 'test' (1203 frames) or 'train' (1036).
        labels: 'trainIds' reads `*_gtCoarse_labelTrainIds.png` (1 road, 2 obstacle), 'ids'
            reads `*_gtCoarse_labelIds.png` (1 road, 2 and above one number per obstacle).
        data_root: folder of `leftImg8bit/` and `gtCoarse/`.
        expected_count, **kwargs: as in `AnomalyDataset`; `data_prefix` has no meaning here.

    Raises:
        ValueError: see `AnomalyDataset`.
    """

    REMEDY = (
        "Expected leftImg8bit/SPLIT/CITY/*_leftImg8bit.png and gtCoarse/SPLIT/CITY/*_gtCoarse_"
        "labelTrainIds.png (or labelIds) below data_root; expected_count=None accepts a part of "
        "the dataset. `ood-seg prepare-data lost_and_found` puts the archives in place."
    )

    def __init__(
        self,
        *,
        split: str = "test",
        labels: str = "trainIds",
        expected_count: int | str | None = "official",
        **kwargs,
    ) -> None:
        check_choice("split", split, tuple(LOST_AND_FOUND_COUNTS))
        check_choice("labels", labels, tuple(LOST_AND_FOUND_LABELS))
        self.split, self.labels = split, labels
        super().__init__(expected_count=expected_count, **kwargs)

    @property
    def official_count(self) -> int:
        """1203 or 1036."""
        return LOST_AND_FOUND_COUNTS[self.split]

    def list_samples(self) -> Listing:
        """List the frames of the split."""
        return list_lost_and_found(self.root, self.split, self.labels)

    def default_label_map(self) -> dict[int, int]:
        """Return the map of the chosen label images."""
        return LOST_AND_FOUND_TRAIN_IDS if self.labels == "trainIds" else LOST_AND_FOUND_IDS
