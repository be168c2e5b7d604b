"""Outputs of a run: files of each image, and a video of the overlays."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ood_seg.io.files import write_image, write_text
from ood_seg.io.json_files import read_json
from ood_seg.io.map_origins import MapOrigin
from ood_seg.perception.core.result import ENDINGS as RESULT_ENDINGS
from ood_seg.perception.core.result import AnomalyResult, ScoreRange
from ood_seg.perception.io.video_io import VideoWriter
from ood_seg.visualization import score_range

# `scores-png` has a folder of its own, which `ood-seg evaluate` reads.
ENDINGS = {**RESULT_ENDINGS, "scores-png": ".png"}
SCORE_FOLDER, SCALE_FILE = "scores", "scale.json"
_MAX_LEVEL = 65535
# An image may come this share of a period before its place in a video.
_ROUNDING = 0.25
# For so long an image is shown at most, as clocks of cameras jump by years.
_LONGEST_S = 60.0
_LISTED = 5


class FolderSink:
    """Writes files named after the image; each write is atomic.

    Args:
        folder: names with a `/` give folders below it.
        kinds: keys of `ENDINGS`: those of `AnomalyResult.save`, and `scores-png`: 16 bits in
            `scores/NAME.png`, with the scale in `scores/scale.json`; scores outside `limits` are
            clipped.
        limits: scores at the ends of the colours; by default those of each image.
        style: of the overlays, see `AnomalyResult.overlay`.
        overwrite: replace existing files.
        skip: skip images whose files all exist.

    Raises:
        ValueError: an unknown kind; `scores-png` without limits, or with limits that differ from
            `scale.json`.
    """

    def __init__(
        self,
        folder: str | Path,
        kinds: Sequence[str],
        *,
        limits: ScoreRange | None = None,
        style: str | None = None,
        overwrite: bool = False,
        skip: bool = False,
    ) -> None:
        unknown = [kind for kind in kinds if kind not in ENDINGS]
        if unknown:
            raise ValueError(f"kinds: expected some of {', '.join(ENDINGS)}, got {unknown[0]!r}")
        self.folder, self.kinds, self.limits = Path(folder), tuple(kinds), limits
        self._style = style
        self._overwrite, self._skip = overwrite, skip
        self._conflicts: list[Path] = []
        self._num_conflicts = 0
        if "scores-png" in self.kinds:
            self._write_scale()

    def write_origin(self, origin: MapOrigin, *, replace: bool) -> None:
        """Write the sidecar that names the model, in the folders of score maps.

        Args:
            origin: of the maps.
            replace: whether maps of another model may be replaced.

        Raises:
            ValueError: a folder holds maps of another score or model, which are not replaced.
        """
        folders = {"scores": self.folder, "scores-png": self.folder / SCORE_FOLDER}
        for folder in (folders[kind] for kind in self.kinds if kind in folders):
            origin.record(folder, replace=replace, remedy="use --overwrite or another --out")

    def paths(self, name: str) -> list[Path]:
        """The files of an image, in the order of `kinds`."""
        return [
            (self.folder / SCORE_FOLDER if kind == "scores-png" else self.folder)
            / f"{name}{ENDINGS[kind]}"
            for kind in self.kinds
        ]

    def existing(self, name: str) -> list[Path]:
        """The files of an image that exist."""
        return [path for path in self.paths(name) if os.path.exists(path)]

    def wants(self, name: str) -> bool:
        """Whether the files of the image or video of this name are to be written.

        Existing files that are neither overwritten nor skipped make `check` fail.
        """
        if self._overwrite:
            return True
        existing = self.existing(name)
        if self._skip:
            return len(existing) < len(self.kinds)
        existing += self.existing(f"{name}/000000")  # the first frame, if it is a video
        self._num_conflicts += len(existing)
        self._conflicts += existing[: _LISTED - len(self._conflicts)]
        return True

    def check(self) -> None:
        """Raise a ValueError if `wants` has found files that must not be overwritten."""
        if self._num_conflicts:
            raise ValueError(_conflict(self._conflicts, self._num_conflicts))

    def write(self, result: AnomalyResult) -> None:
        """Write the files of a result.

        Raises:
            ValueError: a file exists, and neither `overwrite` nor `skip` is set; or a kind needs a
                threshold or calibration that the result was made without.
        """
        existing = [] if self._overwrite else self.existing(result.name)
        if self._skip and len(existing) == len(self.kinds):
            return
        if existing and not self._skip:
            raise ValueError(_conflict(existing, len(existing)))
        for kind, path in zip(self.kinds, self.paths(result.name), strict=True):
            if kind == "scores-png" and self.limits is not None:
                write_image(path, _levels(result.anomaly, *self.limits))
            else:
                result.save(self.folder, kind, limits=self.limits, style=self._style)

    def _write_scale(self) -> None:
        if self.limits is None:
            raise ValueError(
                "16-bit scores need one range for all images: give two numbers as --score-range, "
                "or save .npy"
            )
        low, high = self.limits
        scale = {"scale": (high - low) / _MAX_LEVEL, "offset": low}
        path = self.folder / SCORE_FOLDER / SCALE_FILE
        if not self._overwrite and path.exists() and read_json(path) != scale:
            raise ValueError(f"{path} has another scale than that of {low}..{high}")
        write_text(path, json.dumps(scale) + "\n")


def _conflict(existing: Sequence[Path], count: int) -> str:
    listed = ", ".join(map(str, existing[:_LISTED])) + (", ..." if count > _LISTED else "")
    return (
        f"{count} files exist ({listed}); use --overwrite to replace them, --skip-existing to keep "
        "them, or another --out"
    )


def _levels(scores: np.ndarray, low: float, high: float) -> np.ndarray:
    levels = np.rint((scores.astype(np.float64) - low) * (_MAX_LEVEL / (high - low)))
    return np.clip(levels, 0, _MAX_LEVEL).astype(np.uint16)


class VideoSink:
    """Writes the overlays of results as a video, each for the time until the next one.

    An image is repeated until the next one stands at its own time, for a minute at most. Images
    without a stamp follow each other at the rate of the video, as do videos of a list.

    Args:
        writer: of the video.
        limits: scores at the ends of the heat map. By default the probability is shown from 0 to
            1; without one, the range of scores of the first image is used for all.
        style: of the overlays, see `AnomalyResult.overlay`.
        all_images: whether images that are closer to each other than the rate permits are all
            written, and later ones catch up; otherwise they are left out.

    Attributes:
        left_out: number of images that are not in the video.
    """

    def __init__(
        self,
        writer: VideoWriter,
        *,
        limits: ScoreRange | None = None,
        style: str | None = None,
        all_images: bool = True,
    ) -> None:
        self.left_out = 0
        self._writer, self._limits, self._all_images = writer, limits, all_images
        self._style = style
        self._start: float | None = None  # stamp that would be the first of the video
        self._stamp: float | None = None
        self._shown: np.ndarray | None = None

    def write(self, result: AnomalyResult) -> None:
        """Add the overlay of a result.

        Raises:
            ValueError: an image of another size, or the video cannot be written.
        """
        free = self._writer.written
        place = self._place(result.stamp, free)
        if place < free and not self._all_images:
            self.left_out += 1
            return
        if self._limits is None and result.probability is None:
            self._limits = score_range(result.anomaly)
        overlay = result.overlay(style=self._style, limits=self._limits)
        for image in [self._shown] * (place - free) if self._shown is not None else ():
            self._writer.write(image)
        self._writer.write(overlay)
        self._shown = overlay

    def _place(self, stamp: float | None, free: int) -> int:
        """Position in the video of an image of this time; `free` is the first that is free."""
        before, self._stamp = self._stamp, stamp
        rate = self._writer.rate
        if stamp is None:
            return free
        if before is None or stamp < before or self._start is None:
            self._start = stamp - free / rate
        place = math.floor((stamp - self._start) * rate + _ROUNDING)
        last = free + math.ceil(_LONGEST_S * rate)
        if place > last:
            self._start = stamp - last / rate
        return min(place, last)

    def close(self, *, complete: bool = True) -> None:
        """Finish the video; see `VideoWriter.close`."""
        self._writer.close(complete=complete)
