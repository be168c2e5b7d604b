"""StreetHazards: rendered streets with objects that occur in no training frame."""

from __future__ import annotations

from mmseg.registry import DATASETS

from ood_seg.datasets.anomaly import AnomalyDataset
from ood_seg.datasets.label_maps import STREET_HAZARDS_LABELS
from ood_seg.datasets.listing import Listing
from ood_seg.datasets.obstacle_layouts import STREET_HAZARDS_COUNT, list_street_hazards


@DATASETS.register_module()
class StreetHazardsDataset(AnomalyDataset):
    """The test split of StreetHazards (Hendrycks et al. 2022): 1500 rendered frames, 1280x720.

    Masks store the class number plus one: 14 is the anomaly, 1 to 13 are known. As in its own
    evaluation, unlabelled pixels (1) and the class "other" (4) count as known; `label_map` can
    ignore one of them, as some authors do.

    Args:
        data_root: folder that holds `test/images/test/` and `test/annotations/test/`.
        expected_count: 1500 frames were published; None accepts any number but zero.
        **kwargs: as in `AnomalyDataset`; `data_prefix` has no meaning here.

    Raises:
        ValueError: see `AnomalyDataset`.
    """

    REMEDY = (
        "Expected test/images/test/TOWN/N.png and test/annotations/test/TOWN/N.png below "
        "data_root; expected_count=None accepts a part of the dataset. `ood-seg prepare-data "
        "street_hazards` puts the archive in place."
    )

    def __init__(self, *, expected_count: int | None = STREET_HAZARDS_COUNT, **kwargs) -> None:
        super().__init__(expected_count=expected_count, **kwargs)

    def list_samples(self) -> Listing:
        """List the test frames."""
        return list_street_hazards(self.root)

    def default_label_map(self) -> dict[int, int]:
        """Return the map in which 14 is the anomaly."""
        return STREET_HAZARDS_LABELS
