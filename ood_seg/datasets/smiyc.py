"""SegmentMeIfYouCan: RoadAnomaly21 and RoadObstacle21."""

from __future__ import annotations

from mmseg.registry import DATASETS

from ood_seg.datasets.anomaly import AnomalyDataset
from ood_seg.datasets.layouts import check_choice
from ood_seg.datasets.listing import Listing
from ood_seg.datasets.obstacle_layouts import SMIYC_COUNTS, list_smiyc


@DATASETS.register_module()
class SMIYCDataset(AnomalyDataset):
    """The public validation frames of a SegmentMeIfYouCan track (Chan et al. 2021).

    Images are jpg (RoadAnomaly21) or webp (RoadObstacle21), masks `*_labels_semantic.png` with
    0, 1 and 255; in RoadObstacle21 everything outside the road is 255. Images without a public
    mask (the hidden test) are left out; their number is logged.

    Args:
        track: 'RoadAnomaly21' (10 labelled frames) or 'RoadObstacle21' (30).
        data_root: `dataset_AnomalyTrack`, `dataset_ObstacleTrack`, or the folder around it.
        expected_count, **kwargs: as in `AnomalyDataset`; `data_prefix` has no meaning here.

    Raises:
        ValueError: see `AnomalyDataset`.
    """

    REMEDY = (
        "Expected images/STEM.jpg or .webp and labels_masks/STEM_labels_semantic.png below "
        "data_root; expected_count=None accepts another number. `ood-seg prepare-data "
        "smiyc_road_anomaly21` (or smiyc_road_obstacle21) puts the archive in place."
    )

    def __init__(
        self, *, track: str, expected_count: int | str | None = "official", **kwargs
    ) -> None:
        check_choice("track", track, tuple(SMIYC_COUNTS))
        self.track = track
        super().__init__(expected_count=expected_count, **kwargs)

    @property
    def official_count(self) -> int:
        """10 or 30."""
        return SMIYC_COUNTS[self.track]

    def list_samples(self) -> Listing:
        """List the labelled frames."""
        return list_smiyc(self.root, self.track)
