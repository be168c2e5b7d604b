"""Settings of an evaluation of saved maps."""

from __future__ import annotations

from dataclasses import dataclass

from ood_seg.metrics.component import TRACKS
from ood_seg.metrics.protocols import get_protocol
from ood_seg.metrics.rank_metrics import metric_names

THRESHOLD_SOURCES = ("all", "select")


@dataclass(frozen=True)
class Settings:
    """Settings of an evaluation.

    Attributes:
        method: name of what made the scores.
        data_set: name of the images.
        protocol: see `ood_seg.metrics.protocols`.
        mode: 'exact', 'streaming' or 'auto', see `read_pixels`.
        memory: bytes of scores up to which 'auto' is exact, above 0.
        tprs: true-positive rates at which the FPR is given, beside 0.95.
        samples: resamples for the intervals; 0: none.
        level: of the intervals.
        seed: of resamples and of the division of the images.
        calibration: method of `calibrate`; None: none.
        select_fraction: share of the images that calibration and thresholds are selected on; they
            are reported on the others. 0: selected and reported on all.
        track: of the component metrics; None: none.
        threshold_on: images whose best F1 gives the component threshold: 'all', as published, or
            'select'; the components are then those of the other images.
        commit: of the code, for the record.

    Raises:
        ValueError: a value is unknown or out of range; before any image is read.
    """

    method: str = "scores"
    data_set: str = "images"
    protocol: str = "pooled"
    mode: str = "auto"
    memory: int = 2 * 2**30
    tprs: tuple[float, ...] = (0.95,)
    samples: int = 1000
    level: float = 0.95
    seed: int = 0
    calibration: str | None = "platt"
    select_fraction: float = 0.5
    track: str | None = "anomaly"
    threshold_on: str = "all"
    commit: str | None = None

    def __post_init__(self) -> None:
        get_protocol(self.protocol)
        metric_names(self.tprs, best_f1=False)
        if self.memory <= 0:
            raise ValueError(f"memory must be above 0, got {self.memory} bytes")
        if self.samples < 0:
            raise ValueError(f"samples must be at least 0 (no intervals), got {self.samples}")
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, such as 0.95; got {self.level}")
        if not 0 <= self.select_fraction < 1:
            raise ValueError(
                "select_fraction, the share of the images to select on, must be at least 0 and "
                f"below 1; got {self.select_fraction}"
            )
        if self.mode == "streaming" and self.protocol != "pooled":
            raise ValueError(
                f"the protocol {self.protocol!r} needs all scores; mode 'streaming' is for the "
                "protocol 'pooled'"
            )
        if self.track is not None and self.track not in TRACKS:
            raise ValueError(f"track: expected one of {', '.join(TRACKS)}; got {self.track!r}")
        if self.threshold_on not in THRESHOLD_SOURCES:
            raise ValueError(
                f"threshold_on: expected one of {', '.join(THRESHOLD_SOURCES)}; "
                f"got {self.threshold_on!r}"
            )
