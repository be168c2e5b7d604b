"""Second pass over the maps, once thresholds are known: components, false alarms, closed set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ood_seg.calibration import count_false_alarms
from ood_seg.datasets.label_images import apply_label_table, decode_label_image, label_table
from ood_seg.datasets.label_maps import TRAIN_IDS
from ood_seg.evaluation.image_tasks import for_each
from ood_seg.evaluation.kept_maps import KeptMaps
from ood_seg.evaluation.matching import MapPair
from ood_seg.evaluation.partial_results import PartialResults
from ood_seg.labels import ANOMALY, IGNORE, MIN_AREA, OUTLIER
from ood_seg.metrics.checks import above
from ood_seg.metrics.component import TRACKS
from ood_seg.metrics.open_set import OpenSetMetrics
from ood_seg.metrics.overlaps import ImageComponents, match_components

NUM_CLASSES = len(TRAIN_IDS) - 1


@dataclass(frozen=True)
class RegionPlan:
    """Counts to be made in each image.

    Attributes:
        track: of the component metrics; None: none.
        component_threshold: pixels with `score > threshold` are predicted anomalous.
        alarm_thresholds: of the operating points, whose false alarms are counted; a pixel is
            flagged if `score >= threshold`.
        min_area: smallest false alarm, in pixels.
        rejection_threshold: pixels with `score > threshold` are rejected from the closed set;
            None: no closed-set metrics.
    """

    track: str | None = None
    component_threshold: float | None = None
    alarm_thresholds: tuple[float, ...] = ()
    min_area: int = MIN_AREA
    rejection_threshold: float | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be counted, so that no image is read."""
        return not (self.track or self.alarm_thresholds or self.rejection_threshold is not None)


@dataclass(frozen=True)
class ImageRegions:
    """Counts of an image; parts that `RegionPlan` leaves out are None or empty."""

    components: ImageComponents | None
    false_alarms: np.ndarray
    confusion: np.ndarray | None


def read_regions(
    pairs: Sequence[MapPair],
    reader: KeptMaps,
    plan: RegionPlan,
    folder: Path | None,
    *,
    class_files: Mapping[str, tuple[Path, Path]] | None = None,
    workers: int = 1,
    on_image: Callable[[], object] = lambda: None,
) -> dict[str, ImageRegions]:
    """Count in each image what `plan` asks for, reading what is not stored yet.

    Args:
        pairs: images.
        reader: of their maps.
        plan: what to count.
        folder: of partial results.
        class_files: predicted and true training labels of each image, for the closed set.
        workers: threads.
        on_image: called after each image.

    Raises:
        ValueError: as `MapReader.read` and `OpenSetMetrics.update`, for all bad files.
    """
    if plan.is_empty:
        return {}
    stored = PartialResults(folder, {"reader": asdict(reader.reader), "plan": asdict(plan)})

    def measure(pair: MapPair) -> tuple[str, ImageRegions]:
        classes = (class_files or {}).get(pair.name, ())
        files = (pair.scores, pair.truth, *classes)
        arrays = stored.load(pair.name, files)
        if arrays is None:
            arrays = _measure(*reader.read(pair.scores, pair.truth), plan, classes)
            stored.save(pair.name, files, arrays)
        return pair.name, _from_arrays(arrays)

    regions = {}
    for name, result in for_each(measure, pairs, workers=workers):
        regions[name] = result
        on_image()
    return regions


def _measure(
    scores: np.ndarray, labels: np.ndarray, plan: RegionPlan, classes: Sequence[Path]
) -> dict[str, np.ndarray]:
    arrays = {
        "false_alarms": np.array(
            [
                count_false_alarms(scores, labels, threshold, min_area=plan.min_area)
                for threshold in plan.alarm_thresholds
            ],
            np.int64,
        )
    }
    if plan.track:
        mask = above(scores, plan.component_threshold)
        arrays.update(match_components(mask, labels, TRACKS[plan.track])._asdict())
    if plan.rejection_threshold is not None and classes:
        predicted, known = (read_train_ids(path) for path in classes)
        metrics = OpenSetMetrics(NUM_CLASSES, threshold=plan.rejection_threshold)
        for path, found in zip(classes, (predicted, known), strict=True):
            if found.shape != labels.shape:
                raise ValueError(
                    f"{path}: the label map has shape {found.shape}, the ground truth of the "
                    f"anomalies {labels.shape} (height, width); they must be of one size"
                )
        metrics.update(predicted, scores, np.where(labels == ANOMALY, OUTLIER, known))
        arrays["confusion"] = metrics.counts
    return arrays


def _from_arrays(arrays: Mapping[str, np.ndarray]) -> ImageRegions:
    components = None
    if "siou" in arrays:
        components = ImageComponents(*(arrays[name] for name in ImageComponents._fields))
    return ImageRegions(components, arrays["false_alarms"], arrays.get("confusion"))


def read_train_ids(path: Path) -> np.ndarray:
    """Training labels `(H, W)` uint8: 0..18, 254, 255.

    Raises:
        ValueError: no label image, or other values; names the file.
    """
    table = label_table({**TRAIN_IDS, OUTLIER: OUTLIER, IGNORE: IGNORE})
    return apply_label_table(decode_label_image(path.read_bytes(), path), *table, source=path)
