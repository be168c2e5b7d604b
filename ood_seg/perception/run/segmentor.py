"""The interface of all runtimes: torch, ONNX Runtime and OpenVINO models are used alike."""

from __future__ import annotations

import contextlib
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ood_seg.io.map_origins import MapOrigin
from ood_seg.labels import MIN_AREA
from ood_seg.perception.core.decision import DecisionRule, check_prediction, choose_threshold
from ood_seg.perception.core.errors import ends_run
from ood_seg.perception.core.regions import Region, parse_region
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.temporal import TemporalFilter
from ood_seg.perception.core.tracking import InstanceTracker
from ood_seg.perception.core.types import Failure, Frame, FrameSource, Palette, Prediction
from ood_seg.perception.io.frames import open_frames
from ood_seg.perception.run.stream import Analysis, Outcomes, analyse
from ood_seg.refinement import Evidence, Refinement


class Segmentor(ABC):
    """A model that predicts labels and anomaly scores; subclasses implement `predict`.

    ```
    segmentor("street.jpg")  -> AnomalyResult
    segmentor("drive.mp4")   -> iterator of AnomalyResult
    image -> predict -> Prediction -> refined -> result (decision rule) -> AnomalyResult
    ```

    Args:
        palette: names and colours of the known classes.
        score_name: name of its anomaly score, such as `Energy`.
        thresholds: score at each named operating point; empty without a calibration.
        operating_point: name of one of them, or a number: the score from which pixels are
            flagged. None: the first name; without one, no mask and no instances.
        min_area: components of fewer pixels are not instances; None: `MIN_AREA`.
        region: where pixels may be flagged, see `regions.parse_region`.
        boundary_suppression: see `DecisionRule`.
        refinement: of the score maps by objects, see `Refinement.of`; thresholds are then those
            of refined scores.

    Attributes:
        palette, thresholds: as given.
        score_name: as given; with a refinement followed by the names of its steps.
        refinement: the `Refinement`, or None.
        calibration_note: a line on where the calibration comes from, or why there is none.
        decision_rule: turns predictions into results; may be replaced.

    Raises:
        ValueError: no operating point of this name, a threshold that is not finite, or a
            malformed region.
    """

    palette: Palette
    score_name: str
    thresholds: dict[str, float]
    decision_rule: DecisionRule
    refinement: Refinement | None
    calibration_note: str = "no calibration"

    def __init__(
        self,
        palette: Palette,
        score_name: str,
        thresholds: Mapping[str, float],
        *,
        operating_point: str | float | None = None,
        min_area: int | None = None,
        region: str | Sequence[str] | np.ndarray | Region | None = None,
        refinement: Any = None,
        boundary_suppression: int = 0,
    ) -> None:
        self.palette = palette
        self.refinement = None if refinement is None else Refinement.of(refinement).open()
        self.score_name = refined_name(score_name, self.refinement)
        self.thresholds = dict(thresholds)
        name, threshold = choose_threshold(operating_point, self.thresholds)
        min_area = MIN_AREA if min_area is None else min_area
        inside = None if region is None else parse_region(region, palette.classes)
        self.decision_rule = DecisionRule(threshold, name, min_area, inside, boundary_suppression)

    @property
    def model_name(self) -> str:
        """Name of the model, for people; empty if it is not known."""
        return ""

    def map_origin(self) -> MapOrigin:
        """Score and checkpoint, for the sidecar of saved score maps."""
        return MapOrigin(self.score_name)

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
        """Name of the threshold in use; None for a number, and without a threshold."""
        return self.decision_rule.operating_point

    @property
    def threshold(self) -> float | None:
        """Score from which pixels are flagged; None: no pixel is."""
        return self.decision_rule.threshold

    @abstractmethod
    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]:
        """Predict images `(H, W, 3)` uint8 BGR; those of equal size run as one batch.

        Whether scores are finite is checked by `result`, which knows the name of the image.

        Raises:
            ValueError: an array is not such an image.
        """

    def probability(self, scores: np.ndarray) -> np.ndarray | None:
        """Calibrated probabilities of scores that a temporal filter has changed.

        Returns:
            Array of the shape of `scores`; None if the model has no calibration.
        """
        return None

    def calibration_facts(self) -> dict[str, Any] | None:
        """Method, parameters, images and assumed prior of the calibration in use, as JSON values.

        Returns:
            `method`, `parameters` (`slope` and `offset` of a logistic curve, or `scores` and
            `probabilities` of the knots of an isotonic one), `data_set` and `assumed_prior`; None
            where `probability` gives None.
        """
        return None

    def refined(self, frame: Frame, prediction: Prediction) -> Prediction:
        """The prediction with refined scores, and their probability where it is calibrated.

        Raises:
            ValueError: see `Refinement`; names the frame.
        """
        if self.refinement is None:
            return prediction
        check_prediction(prediction, frame.image.shape[:2], frame.name)
        evidence = Evidence(frame.image, prediction.labels, frame.name)
        scores = self.refinement(prediction.anomaly, evidence)
        return prediction._replace(anomaly=scores, probability=self.probability(scores))

    def result(
        self,
        frame: Frame,
        prediction: Prediction,
        latency: Mapping[str, float] | None = None,
        *,
        rule: DecisionRule | None = None,
    ) -> AnomalyResult:
        """Refine a prediction and apply a decision rule to it, by default that of the model.

        Raises:
            ValueError: see `refined` and `DecisionRule`; names the frame.
        """
        rule = self.decision_rule if rule is None else rule
        probability = None
        if rule.threshold is not None:
            probability = self.probability(np.array([[rule.threshold]], np.float32))
        return rule(
            frame,
            self.refined(frame, prediction),
            palette=self.palette,
            score_name=self.score_name,
            latency=latency,
            model=self.model_name,
            threshold_probability=None if probability is None else float(probability[0, 0]),
        )

    def __call__(self, source: Any) -> AnomalyResult | Iterator[AnomalyResult]:
        """Analyse images.

        Args:
            source: one image, as a path or an array `(H, W, 3)` uint8 BGR; or a list, folder,
                pattern, video, camera number or URL, see `frames.open_frames`.

        Returns:
            One result for one image, else an iterator of results that are computed on demand
            (`stream`).

        Raises:
            FileNotFoundError: no such file, or no file matches the pattern.
            ValueError: a source that cannot be read; for an iterator, also when the turn of an
                image comes that cannot be used.
        """
        frames = open_frames(source)
        if frames is source or not frames.single:
            return self.stream(frames)
        (result,) = results_only(self.outcomes(frames))
        return result

    def outcomes(self, frames: FrameSource) -> Outcomes:
        """Outcomes of a few images, computed in the calling thread.

        See `stream.analyse` for long sources, whose images are read while the model runs.
        """
        start = time.perf_counter()
        for outcome in frames:
            yield self._outcome(outcome, start) if isinstance(outcome, Frame) else outcome
            start = time.perf_counter()

    def _outcome(self, frame: Frame, start: float) -> AnomalyResult | Failure:
        read = time.perf_counter()
        try:
            (prediction,) = self.predict([frame.image])
            predicted = time.perf_counter()
            result = self.result(frame, prediction)
        except Exception as error:  # such as cv2.error, a MemoryError, or those of the runtimes
            if ends_run(error):
                raise
            return Failure.of(error, frame.name, frame.index)
        end = time.perf_counter()
        latency = {"decode": read - start, "predict": predicted - read, "judge": end - predicted}
        return replace(result, latency={**latency, "total": end - start})

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
        """Results of the images of a source, in order, computed on demand.

        Args:
            source: as for a call.
            batch_size: images predicted together, where sizes are equal.
            prefetch: batches read ahead.
            temporal: filters the scores of a video; reset first.
            tracker: numbers the instances of a video; reset first.
            on_failure: for images that cannot be used: `raise` a ValueError, `skip` them, or
                call a function with the `Failure` and continue.

        Raises:
            FileNotFoundError, ValueError: see `frames.open_frames`; another `on_failure`, or as
                it demands.
        """
        if on_failure not in ("raise", "skip") and not callable(on_failure):
            raise ValueError(
                f"on_failure: expected 'raise', 'skip' or a function, got {on_failure!r}"
            )
        for stage in (temporal, tracker):
            if stage is not None:
                stage.reset()
        outcomes = analyse(
            self,
            open_frames(source),
            batch_size=batch_size,
            prefetch=prefetch,
            temporal=temporal,
            tracker=tracker,
        )
        return results_only(outcomes, on_failure)


def refined_name(score: str, refinement: Refinement | None) -> str:
    """Name of a score, with the steps of its refinement if there is one."""
    return score if refinement is None else refinement.score_name(score)


def results_only(
    outcomes: Analysis | Outcomes,
    on_failure: str | Callable[[Failure], Any] = "raise",
) -> Iterator[AnomalyResult]:
    """The results among outcomes, which are closed at the end; `on_failure` as for `stream`."""
    with contextlib.closing(outcomes):
        for outcome in outcomes:
            if isinstance(outcome, AnomalyResult):
                yield outcome
            elif on_failure == "raise":
                raise ValueError(str(outcome)) from outcome.cause
            elif callable(on_failure):
                on_failure(outcome)
