"""Outputs of `infer`: checked and opened before the model is loaded."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ood_seg.io.files import remove_unfinished, require_writable
from ood_seg.perception.core.overlay import DECISION_STYLES
from ood_seg.perception.core.result import ScoreRange
from ood_seg.perception.io.json_lines import JsonLines
from ood_seg.perception.io.shards import Shard
from ood_seg.perception.io.sinks import FolderSink, VideoSink
from ood_seg.perception.io.video_io import VideoWriter, rate_like
from ood_seg.perception.run.segmentor import Segmentor

EXISTING = ("refuse", "overwrite", "skip", "resume")
# Ways to leave out images, as options of the command.
_OPTIONS = {"skip": "--skip-existing", "resume": "--resume"}


def check_arguments(
    out: Any, json: Any, video_out: Any, existing: str, max_pixels: float, shard: Shard
) -> None:
    """Refuse arguments of `infer` that do not fit together, with a ValueError."""
    if existing not in EXISTING:
        raise ValueError(f"existing: expected one of {', '.join(EXISTING)}, got {existing!r}")
    if not (out or json or video_out):
        raise ValueError("no output; give --out DIR, --json FILE.jsonl or --video-out FILE")
    if video_out and existing in _OPTIONS:
        raise ValueError(
            f"--video-out: the video would lack the images that {_OPTIONS[existing]} leaves out; "
            "analyse all of them (--overwrite), or write no video"
        )
    if video_out and shard.world > 1:
        raise ValueError(f"--video-out: {shard.world} processes cannot write one video; start one")
    if not 1 <= max_pixels < math.inf:
        raise ValueError(f"--max-pixels: expected a number of at least 1, got {max_pixels}")


def open_folder(
    out: str | Path,
    save: Sequence[str],
    limits: ScoreRange | None,
    existing: str,
    style: str | None = None,
) -> FolderSink:
    """The files of each image; a ValueError where they cannot be written."""
    if os.path.exists(out) and not os.path.isdir(out):
        raise ValueError(f"--out {out}: expected a folder, got a file")
    # An image with files but without a line was interrupted, so a resumed run overwrites them.
    overwrite = existing in ("overwrite", "resume")
    try:
        require_writable(Path(out))
        skip = existing == "skip"
        return FolderSink(out, save, limits=limits, style=style, overwrite=overwrite, skip=skip)
    except OSError as error:
        raise ValueError(f"--out {out}: cannot be written ({error.strerror})") from error


def make_folder(folder: Path, *, tidy: bool = False) -> None:
    """Create the folder of the files, before the work begins.

    Args:
        folder: with its parents.
        tidy: remove what killed processes have left in it and in its subfolders; only where no
            other process writes to it.

    Raises:
        ValueError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {folder}: cannot be written ({error.strerror})") from error
    if tidy:
        for path, _, _ in os.walk(folder):
            remove_unfinished(Path(path))


def open_lines(json: str | Path, shard: Shard, existing: str, *, retry_failed: bool) -> JsonLines:
    """The lines of JSON; a ValueError where they cannot be written."""
    resume, keep = existing in _OPTIONS, existing == "resume" and not retry_failed
    replace = existing == "overwrite"
    try:
        return JsonLines(json, shard, resume=resume, keep_failures=keep, replace=replace)
    except OSError as error:
        raise ValueError(f"--json {json}: cannot be written ({error.strerror})") from error


def open_video(
    video_out: str | Path,
    rate: float | None,
    source_rate: float | None,
    limits: ScoreRange | None,
    existing: str,
    style: str | None = None,
) -> VideoSink:
    """The video of the overlays, at a chosen rate or else that of the source.

    Raises:
        ValueError: it cannot be written; see `VideoWriter`.
    """
    written_rate = rate_like(video_out, source_rate) if rate is None else rate
    try:
        writer = VideoWriter(video_out, written_rate, overwrite=existing == "overwrite")
    except OSError as error:
        raise ValueError(
            f"--video-out {video_out}: cannot be written ({error.strerror})"
        ) from error
    return VideoSink(writer, limits=limits, style=style, all_images=rate is None)


def check_outputs(
    model: Segmentor, kinds: Sequence[str], tracker: Any, style: str | None = None
) -> None:
    """Refuse outputs that the model cannot give, before any image is read."""
    if model.threshold is None and style in DECISION_STYLES:
        raise ValueError(
            f"--style {style} needs a threshold; give --operating-point NAME or NUMBER"
        )
    if model.threshold is None and ("mask" in kinds or tracker is not None):
        option = "--save mask" if "mask" in kinds else "--track"
        raise ValueError(f"{option} needs a threshold; give --operating-point NAME or NUMBER")
    if "probability" in kinds and model.probability(np.zeros((1, 1), np.float32)) is None:
        raise ValueError(
            "--save probability needs a calibration; give --calibration FILE, or an exported model "
            "that contains one"
        )
