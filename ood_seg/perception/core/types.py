"""Data types that pass between the stages of the perception path; NumPy only.

```
frame source -> Frame -> Segmentor.predict -> Prediction -> [temporal filter] -> decision rule
             -> AnomalyResult (mask, instances) -> [tracker] -> sinks
```

Images are `(H, W, 3)` uint8 in BGR order, as OpenCV reads them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ood_seg.perception.core.errors import error_text, release_frames


@dataclass(frozen=True, eq=False)
class Frame:
    """One input image.

    Attributes:
        image: `(H, W, 3)` uint8 BGR.
        name: used for the names of the output files: the path below the folder of the source,
            without suffix; or the name of the video or stream and the frame number.
        index: position in the source, from 0.
        stamp: seconds since the start of the video, or since 1970 for live sources; None for
            still images.
    """

    image: np.ndarray
    name: str
    index: int = 0
    stamp: float | None = None


@dataclass(frozen=True)
class Failure:
    """An image that cannot be used; the remaining images of its source are not affected.

    Attributes:
        name: as `Frame.name`, or the path.
        message: the reason, in words.
        index: position in the source.
        cause: the error, without the local variables of its traceback; None without one.
    """

    name: str
    message: str
    index: int = 0
    cause: BaseException | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, error: BaseException, name: str, index: int = 0) -> Failure:
        """The failure of an image for which an error was raised."""
        release_frames(error)
        return cls(name, error_text(error), index, error)

    def __str__(self) -> str:
        """The message, which begins with the name unless it contains it as a word."""
        named = re.search(rf"(?<!\w){re.escape(self.name)}(?!\w)", self.message)
        return self.message if named else f"{self.name}: {self.message}"


class FrameSource:
    """Base of all sources: frames in order, read on demand; unusable images are `Failure`s.

    Attributes:
        rate: frames per second; None for images and where it is unknown.
        size: height and width if all frames share them and they are known; else None.
        live: whether frames arrive in real time, so that late ones should be dropped.
        single: whether it is one still image.
        passed: number of positions read or skipped so far.
        other_files: number of the files in folders that are not read, by suffix; known once
            `count` is.
    """

    rate: float | None = None
    size: tuple[int, int] | None = None
    live: bool = False
    single: bool = False
    passed: int = 0
    other_files: Mapping[str, int] = MappingProxyType({})

    @property
    def count(self) -> int | None:
        """Number of frames and failures to come; None: endless or unknown."""
        return None

    def __iter__(self) -> Iterator[Frame | Failure]:
        raise NotImplementedError

    def close(self) -> None:
        """Release cameras and connections."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Prediction(NamedTuple):
    """Output of a network for one image; all arrays have the size of the image.

    Attributes:
        labels: `(H, W)` uint8, the most likely known class; uint16 for more than 254 classes
            (`labels.label_type`).
        anomaly: `(H, W)` float32 score, higher means more anomalous, unbounded.
        probability: `(H, W)` float32 calibrated probability of an anomaly; None without a
            calibration.
    """

    labels: np.ndarray
    anomaly: np.ndarray
    probability: np.ndarray | None = None


OBJECT, SCENE = "object", "scene"


@dataclass(frozen=True, eq=False)
class Instance:
    """Connected flagged pixels: an unknown object, or an unknown scene.

    Attributes:
        box: left, top, width, height in pixels.
        area: number of flagged pixels.
        mean_score: mean anomaly score of its pixels.
        max_score: highest anomaly score of its pixels.
        probability: mean calibrated probability; None without a calibration.
        contour: `(K, 2)` int32 outline, x and y.
        track: number of the object throughout a video; None without tracking.
        kind: `OBJECT`; or `SCENE`, too large a share of the region to be one object: the network
            does not know the scene.
    """

    box: tuple[int, int, int, int]
    area: int
    mean_score: float
    max_score: float
    probability: float | None
    contour: np.ndarray
    track: int | None = None
    kind: str = OBJECT


@dataclass(frozen=True, eq=False)
class Palette:
    """Names and RGB colours of the known classes.

    Attributes:
        classes: name of each class.
        colours: RGB colour, 0..255, of each class.
    """

    classes: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...] = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.classes) != len(self.colours):
            raise ValueError(
                f"palette: expected a colour for each of {len(self.classes)} classes, got "
                f"{len(self.colours)}"
            )
