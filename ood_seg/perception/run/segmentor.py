"""The one face of all runtimes: torch, ONNX Runtime and OpenVINO models are used alike."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_seg.io.images import checked_image
from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.regions import Region, parse_region
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Failure, Frame, Palette, Prediction

if TYPE_CHECKING:
    from ood_seg.perception.core.temporal import TemporalFilter
    from ood_seg.perception.core.tracking import InstanceTracker
    from ood_seg.perception.run.stream import Analysis

MIN_AREA = 50


class Segmentor(ABC):
    """A network that gives labels and anomaly scores; subclasses say how.

    ```
    segmentor("street.jpg")  -> AnomalyResult
    segmentor("drive.mp4")   -> iterator of AnomalyResult
    images -> predict(images) -> Prediction -> temporal(frame, prediction, self.probability)
           -> self.result(frame, prediction, latency) -> AnomalyResult -> tracker(result)
    ```

    Args:
        palette: names and colours of the known classes.
        score_name: name of its anomaly score, such as `Energy`.
        thresholds: score at each named operating point; empty without a calibration.
        operating_point: name of one of them, or a number: the score from which pixels are
            flagged. None: the first name, or none, and then no mask and no instances.
        min_area: smaller groups of flagged pixels are no instances; None: `MIN_AREA`.
        region: where pixels count, see `regions.parse_region`.

    Attributes:
        palette, score_name, thresholds: as given.
        decision_rule: turns predictions into results.

    Raises:
        ValueError: no operating point of that name, a threshold that is not finite, or a region
            that cannot be understood.
    """

    palette: Palette
    score_name: str
    thresholds: dict[str, float]
    decision_rule: DecisionRule

    def __init__(
        self,
        palette: Palette,
        score_name: str,
        thresholds: Mapping[str, float],
        *,
        operating_point: str | float | None = None,
        min_area: int | None = None,
        region: str | Sequence[str] | np.ndarray | Region | None = None,
    ) -> None:
        self.palette = palette
        self.score_name = score_name
        self.thresholds = dict(thresholds)
        name, threshold = choose_threshold(operating_point, self.thresholds)
        min_area = MIN_AREA if min_area is None else min_area
        self.decision_rule = DecisionRule(
            threshold, name, min_area, parse_region(region, palette.classes)
        )

    @property
    def judge(self) -> DecisionRule:
        """Deprecated name of `decision_rule`."""
        warnings.warn("Segmentor.judge is now decision_rule", DeprecationWarning, stacklevel=2)
        return self.decision_rule

    @judge.setter
    def judge(self, rule: DecisionRule) -> None:
        warnings.warn("Segmentor.judge is now decision_rule", DeprecationWarning, stacklevel=2)
        self.decision_rule = rule

    @property
    def operating_point(self) -> str | None:
        """Name of the threshold in use; None for a bare number, and without one."""
        return self.decision_rule.operating_point

    @property
    def threshold(self) -> float | None:
        """Score from which pixels are flagged; None: none are."""
        return self.decision_rule.threshold

    @abstractmethod
    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predict images `(H, W, 3)` uint8 BGR; those of one size run as one batch.

        Scores that are not finite are found later, by `result`, which knows the image's name.

        Raises:
            ValueError: an array is no such image.
        """

    def probability(self, scores: np.ndarray) -> np.ndarray | None:
        """Calibrated probabilities of scores, which a temporal filter has changed.

        None where this model cannot say: without a calibration, or with one inside its graph.
        """
        return None

    def result(
        self, frame: Frame, prediction: Prediction, latency: Mapping[str, float] | None = None
    ) -> AnomalyResult:
        """The result of the decision rule; its errors name the frame."""
        return self.decision_rule(
            frame,
            prediction,
            palette=self.palette,
            score_name=self.score_name,
            latency=dict(latency or {}),
        )

    def __call__(self, source: Any) -> AnomalyResult | Iterator[AnomalyResult]:
        """Results of a source.

        Args:
            source: one image, as a path or an array `(H, W, 3)` uint8 BGR; or a list, folder,
                glob, video, camera number or URL, see `sources.open_frames`.

        Returns:
            One result for one image, else an iterator that reads as it goes (`stream`).

        Raises:
            FileNotFoundError: there is no such file, or nothing matches the pattern.
            ValueError: nothing that can be read here; or the image, when its turn comes, cannot be
                used.
        """
        from ood_seg.perception.io.frames import ImageSource, open_frames

        opened = open_frames(source)
        results = self.stream(opened)
        folder = isinstance(source, (str, Path)) and Path(source).expanduser().is_dir()
        if folder or opened is source or not isinstance(opened, ImageSource):
            return results
        (result,) = results
        return result

    def stream(
        self,
        source: Any,
        *,
        batch_size: int = 1,
        prefetch: int = 2,
        temporal: TemporalFilter | None = None,
        tracker: InstanceTracker | None = None,
        on_failure: str | Callable[[Failure], Any] = "raise",
    ) -> Iterator[AnomalyResult]:
        """Results of the images of a source, in its order, as they come.

        Args:
            source: as for a call.
            batch_size: images predicted together, where sizes are equal.
            prefetch: batches decoded ahead.
            temporal: filters the scores of a video; reset first.
            tracker: numbers the instances of a video; reset first.
            on_failure: what becomes of an image that cannot be used: `raise` a ValueError, `skip`
                it, or a function that is told; the latter two go on.

        Raises:
            FileNotFoundError, ValueError: as `sources.open_frames` says; another `on_failure`, or
                what it asks for.
        """
        if on_failure not in ("raise", "skip") and not callable(on_failure):
            raise ValueError(
                f"on_failure: expected 'raise', 'skip' or a function, got {on_failure!r}"
            )
        for stage in (temporal, tracker):
            if stage is not None:
                stage.reset()
        from ood_seg.perception.io.frames import open_frames
        from ood_seg.perception.run.stream import analyse

        outcomes = analyse(
            self,
            open_frames(source),
            batch_size=batch_size,
            prefetch=prefetch,
            temporal=temporal,
            tracker=tracker,
        )
        return _results(outcomes, on_failure)


def _results(
    outcomes: Analysis, on_failure: str | Callable[[Failure], Any]
) -> Iterator[AnomalyResult]:
    """The results among the outcomes; what becomes of failures is told."""
    with outcomes:
        for outcome in outcomes:
            if isinstance(outcome, AnomalyResult):
                yield outcome
            elif on_failure == "raise":
                known = outcome.name in outcome.message
                raise ValueError(f"{'' if known else f'{outcome.name}: '}{outcome.message}")
            elif callable(on_failure):
                on_failure(outcome)


def choose_threshold(
    operating_point: str | float | None, thresholds: Mapping[str, float]
) -> tuple[str | None, float | None]:
    """Name and value of the threshold; name None for a bare number, both None for none.

    Args:
        operating_point: name, number or None, as for `Segmentor`; text that is a number counts as
            one.
        thresholds: by name.

    Raises:
        ValueError: no such name (those that exist are listed), or a number that is not finite.
    """
    if operating_point is None:
        name = next(iter(thresholds), None)
        return name, (None if name is None else float(thresholds[name]))
    if operating_point in thresholds:
        return operating_point, float(thresholds[operating_point])
    try:
        threshold = float(operating_point)
    except ValueError:
        known = ", ".join(map(repr, thresholds))
        raise ValueError(
            f"no operating point {operating_point!r} in this calibration; it has {known}"
            if known
            else f"operating point {operating_point!r} needs a calibration file; without one give "
            "a number, the score from which pixels are flagged"
        ) from None
    if not math.isfinite(threshold):
        raise ValueError(f"operating point: expected a finite score, got {operating_point}")
    return None, threshold


def predict_by_size(
    images: Sequence[np.ndarray],
    predict_batch: Callable[[list[np.ndarray]], Sequence[Prediction]],
) -> list[Prediction]:
    """Predict images of any sizes, those of one size as one batch.

    Args:
        images: as for `Segmentor.predict`.
        predict_batch: predicts images of one size.

    Returns:
        A prediction for each image, in their order.

    Raises:
        ValueError: an array is no image; see `checked_image`.
    """
    images = [checked_image(image) for image in images]
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        by_size.setdefault(image.shape, []).append(index)
    found: dict[int, Prediction] = {}
    for indices in by_size.values():
        batch = predict_batch([images[index] for index in indices])
        found.update(zip(indices, batch, strict=True))
    return [found[index] for index in range(len(images))]
