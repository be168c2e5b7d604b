"""Road Anomaly: 60 web images of roads with animals, rocks, lost cargo and the like."""

from __future__ import annotations

from mmseg.registry import DATASETS

from ood_seg.datasets.anomaly import AnomalyDataset
from ood_seg.datasets.label_maps import PROCESSED_ROAD_ANOMALY_LABELS, ROAD_ANOMALY_LABELS
from ood_seg.datasets.layouts import (
    LAYOUTS,
    ROAD_ANOMALY_COUNT,
    check_choice,
    list_road_anomaly,
    road_anomaly_layout,
)
from ood_seg.datasets.listing import Listing


@DATASETS.register_module()
class RoadAnomalyDataset(AnomalyDataset):
    """Road Anomaly (Lis et al. 2019), in the published tree or the common processed layout.

    Args:
        data_root: folder with `frame_list.json` and `frames/` (published: `frames/NAME.jpg`,
            `frames/NAME.labels/labels_semantic.png`, 0 known and >= 2 anomaly), or with
            `original/` and `labels/` (processed: 0 and 1).
        layout: 'official', 'processed', or None to detect it.
        expected_count: 60 frames were published; None accepts any number but zero.
        **kwargs: as in `AnomalyDataset`; `data_prefix` has no meaning here.

    Raises:
        ValueError: see `AnomalyDataset`; also names in `frame_list.json` that leave the folder.
    """

    REMEDY = (
        "Expected frame_list.json, frames/NAME.jpg and frames/NAME.labels/labels_semantic.png, "
        "or original/*.jpg and labels/*.png, below data_root; expected_count=None accepts a part "
        "of the dataset. `ood-seg check-data` names its publisher."
    )

    def __init__(
        self,
        *,
        layout: str | None = None,
        expected_count: int | None = ROAD_ANOMALY_COUNT,
        **kwargs,
    ) -> None:
        if layout is not None:
            check_choice("layout", layout, LAYOUTS)
        if kwargs.get("data_prefix"):
            raise ValueError(
                "data_prefix: RoadAnomalyDataset finds its folders below data_root; for other "
                f"folders use AnomalyFolderDataset; got {kwargs['data_prefix']!r}"
            )
        self.layout = layout
        super().__init__(expected_count=expected_count, **kwargs)

    def list_samples(self) -> Listing:
        """List the frames of either layout."""
        return list_road_anomaly(self.root, self.layout)

    def default_label_map(self) -> dict[int, int]:
        """Return the map of the layout: anomalies are 2 as published, 1 in processed copies."""
        layout = self.layout or road_anomaly_layout(self.root)
        return ROAD_ANOMALY_LABELS if layout == "official" else PROCESSED_ROAD_ANOMALY_LABELS
