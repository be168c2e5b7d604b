"""Which files `infer` reads and writes, decided before anything is computed."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"}
_LISTED = 5


@dataclass(frozen=True)
class Job:
    """One image and the files that are made of it; `scores` is None unless asked for."""

    image: Path
    picture: Path
    scores: Path | None

    @property
    def outputs(self) -> list[Path]:
        """All files that the job writes."""
        return [path for path in (self.picture, self.scores) if path is not None]


def plan(source: Path, out: Path, *, save_scores: bool) -> list[Job]:
    """Return a job for each image; folders below `source` are kept below `out`.

    Raises:
        FileNotFoundError: `source` does not exist.
        ValueError: it is a folder without images, or `out` is that folder.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source} does not exist; give an image or a folder of images")
    if source.is_file():
        return _jobs([source], source.parent, out, save_scores=save_scores)
    if out.resolve() == source.resolve():
        raise ValueError(f"--out {out} is the folder of the images; give another folder")
    images = [path for path in sorted(source.rglob("*")) if _is_input(path, source, out)]
    if not images:
        known = " ".join(sorted(_SUFFIXES))
        raise ValueError(f"no images in {source}; expected files that end in {known}")
    return _jobs(images, source, out, save_scores=save_scores)


def _is_input(path: Path, source: Path, out: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
    inside_out = out.resolve() in path.resolve().parents
    return path.suffix.lower() in _SUFFIXES and path.is_file() and not hidden and not inside_out


def _jobs(images: list[Path], root: Path, out: Path, *, save_scores: bool) -> list[Job]:
    stems = {image: image.relative_to(root).with_suffix("") for image in images}
    shared = Counter(stems.values())
    jobs = []
    for image, stem in stems.items():
        # a.jpg beside a.png: the suffix keeps their pictures apart.
        name = stem.name if shared[stem] == 1 else image.name
        target = out / stem.parent / name
        picture = target.with_name(f"{name}_anomaly.png")
        scores = target.with_name(f"{name}_scores.npy") if save_scores else None
        jobs.append(Job(image, picture, scores))
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
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    try:
        with unfinished.open("wb") as stream:
            np.save(stream, values.astype(np.float32, copy=False))
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
