"""What passes from stage to stage of the perception path; NumPy only.

```
source -> Frame -> Segmentor.predict -> Prediction -> temporal filter, if any -> decision rule
       -> AnomalyResult (mask, instances) -> tracker, if any -> sinks
```

Images are `(H, W, 3)` uint8 in BGR order, as OpenCV reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np


@dataclass(frozen=True, eq=False)
class Frame:
    """One image on its way in.

    Attributes:
        image: `(H, W, 3)` uint8 BGR.
        name: what outputs are called after: the path below the source's folder without its
            suffix, or the name of the stream and the frame number.
        index: position in the source, from 0.
        stamp: seconds since the start of the stream, or since 1970 for live sources; None for
            still images.
    """

    image: np.ndarray
    name: str
    index: int = 0
    stamp: float | None = None


@dataclass(frozen=True)
class Failure:
    """An image that could not be used; the rest of its source goes on.

    Attributes:
        name: as `Frame.name`, or the path.
        message: what was wrong, for a person.
        index: position in the source.
    """

    name: str
    message: str
    index: int = 0


class Prediction(NamedTuple):
    """What a network says of one image, all arrays of its size.

    Attributes:
        labels: `(H, W)` uint8, the most likely known class.
        anomaly: `(H, W)` float32 score, higher means more anomalous, unbounded.
        probability: `(H, W)` float32 calibrated probability of an anomaly; None: not calibrated.
    """

    labels: np.ndarray
    anomaly: np.ndarray
    probability: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Instance:
    """A connected group of flagged pixels: an unknown object.

    Attributes:
        box: left, top, width, height in pixels.
        area: flagged pixels.
        mean_score: mean anomaly score of its pixels.
        max_score: their highest.
        probability: mean calibrated probability; None without a calibration.
        contour: `(K, 2)` int32 outline, x and y.
        track: number that stays with the object through a video; None without tracking.
    """

    box: tuple[int, int, int, int]
    area: int
    mean_score: float
    max_score: float
    probability: float | None
    contour: np.ndarray
    track: int | None = None


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
