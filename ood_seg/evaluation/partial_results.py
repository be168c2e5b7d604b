"""Partial results on disk, one file per image, from which an interrupted evaluation resumes."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ood_seg.io.files import atomic_path

# Raise it when what is stored, or how it is computed, changes.
_VERSION = 2
_IDENTITY = "identity"
_UNREADABLE = (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, zlib.error)


class PartialResults:
    """Arrays of each image in `FOLDER/NAME.npz`, valid for the same files and options only.

    Files are written atomically. An entry is not found if its input files changed (path, size or
    time of change), if it was made with other options, or if it cannot be read.

    Args:
        folder: created when the first entry is written; None keeps nothing.
        options: what the arrays depend on beside the files, as JSON values.
    """

    def __init__(self, folder: Path | None, options: Mapping) -> None:
        self.folder = folder
        self.options = json.dumps({"version": _VERSION, **options}, sort_keys=True, default=str)

    def load(self, name: str, files: Iterable[Path]) -> dict[str, np.ndarray] | None:
        """The valid arrays stored for an image, None where there are none."""
        path = self._path(name)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as stored:
                if str(stored[_IDENTITY]) != self._identity(files):
                    return None
                return {key: stored[key] for key in stored.files if key != _IDENTITY}
        except _UNREADABLE:
            return None

    def save(self, name: str, files: Iterable[Path], arrays: Mapping[str, np.ndarray]) -> None:
        """Store the arrays of an image; an entry of an earlier run is replaced."""
        path = self._path(name)
        if path is None:
            return
        stored: dict[str, Any] = {_IDENTITY: np.array(self._identity(files)), **arrays}
        with atomic_path(path) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **stored)

    def _path(self, name: str) -> Path | None:
        return None if self.folder is None else self.folder / f"{name}.npz"

    def _identity(self, files: Iterable[Path]) -> str:
        """Options and state of the files, as text that differs when any of them does."""
        states = [
            [str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns] for file in files
        ]
        return self.options + json.dumps(states)
