"""Which files `infer` reads and writes, decided before anything is computed."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
_LISTED = 5


@dataclass(frozen=True)
class Job:
    """One image and the files that are made of it; those not asked for are None."""

    image: Path
    picture: Path
    scores: Path | None
    probability: Path | None = None
    mask: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        """All files that the job writes."""
        files = (self.picture, self.scores, self.probability, self.mask)
        return [path for path in files if path is not None]


def plan(source: Path, out: Path, *, save_scores: bool, calibrated: bool = False) -> list[Job]:
    """Return a job for each image; folders below `source` are kept below `out`.

    Args:
        source: an image, or a folder of images.
        out: folder of the files to be written.
        save_scores: whether scores are written.
        calibrated: whether probabilities and masks are written.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: it is a folder without images, or `out` is that folder.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist; give an image or a folder of images")
    arrays = ["scores"] * save_scores + ["probability"] * calibrated
    if source.is_file():
        return _jobs([source], source.parent, out, arrays, masks=calibrated)
    if out.resolve() == source.resolve():
        raise ValueError(f"--out {out} is the folder of the images; give another folder")
    images = [path for path in sorted(source.rglob("*")) if _is_input(path, source, out)]
    if not images:
        known = " ".join(sorted(_SUFFIXES))
        raise ValueError(f"no images in {source}; expected files that end in {known}")
    return _jobs(images, source, out, arrays, masks=calibrated)


def _is_input(path: Path, source: Path, out: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
    inside_out = out.resolve() in path.resolve().parents
    return path.suffix.lower() in _SUFFIXES and path.is_file() and not hidden and not inside_out


def _jobs(
    images: list[Path], root: Path, out: Path, arrays: list[str], *, masks: bool
) -> list[Job]:
    stems = {image: image.relative_to(root).with_suffix("") for image in images}
    shared = Counter(stems.values())
    jobs = []
    for image, stem in stems.items():
        # a.jpg beside a.png: the suffix keeps their pictures apart.
        name = stem.name if shared[stem] == 1 else image.name
        target = out / stem.parent / name
        picture = target.with_name(f"{name}_anomaly.png")
        files = {kind: target.with_name(f"{name}_{kind}.npy") for kind in arrays}
        mask = target.with_name(f"{name}_mask.png") if masks else None
        jobs.append(Job(image, picture, files.get("scores"), files.get("probability"), mask))
    return jobs


def without_done(jobs: list[Job], *, overwrite: bool, skip: bool) -> list[Job]:
    """Return the jobs to run, given what exists already.

    Raises:
        ValueError: files exist, and neither `overwrite` nor `skip` says what to do.
    """
    if overwrite:
        return jobs
    if skip:
        return [job for job in jobs if not all(path.exists() for path in job.outputs)]
    existing = [path for job in jobs for path in job.outputs if path.exists()]
    if existing:
        listed = ", ".join(map(str, existing[:_LISTED])) + (", ..." if existing[_LISTED:] else "")
        raise ValueError(
            f"{len(existing)} files exist ({listed}); use --overwrite to replace them, "
            "--skip-existing to keep them, or another --out"
        )
    return jobs


def save_array(path: Path, values: np.ndarray) -> None:
    """Write a `.npy` file; it appears complete or not at all."""
    with _whole(path) as stream:
        np.save(stream, values.astype(np.float32, copy=False))


def save_mask(path: Path, mask: np.ndarray) -> None:
    """Write a mask of 0 and 1 as a grey PNG of 0 and 255, whole or not at all."""
    import cv2

    encoded = cv2.imencode(".png", mask * np.uint8(255))[1]
    with _whole(path) as stream:
        stream.write(encoded.tobytes())


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its place only when all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("wb") as stream:
            yield stream
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
