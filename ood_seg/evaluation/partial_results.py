"""Partial results on disk, one file per image, so that an interrupted evaluation goes on."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ood_seg.io.files import atomic_path

# Raise it when what is stored, or how it is computed, changes.
_VERSION = 2
_IDENTITY = "identity"
_UNREADABLE = (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, zlib.error)


class PartialResults:
    """Arrays of each image in `FOLDER/NAME.npz`, valid for the same files and options only.

    A file appears under its name only when it is complete. An entry whose input files changed
    (path, size or time of change), that was made with other options, or that cannot be read, is
    not found.

    Args:
        folder: made when the first entry is written; None keeps nothing.
        options: whatever the arrays depend on beside the files, of types that JSON knows.
    """

    def __init__(self, folder: Path | None, options: Mapping) -> None:
        self.folder = folder
        self.options = json.dumps({"version": _VERSION, **options}, sort_keys=True, default=str)

    def load(self, name: str, files: Iterable[Path]) -> dict[str, np.ndarray] | None:
        """The arrays stored for an image, None where there are none that are valid."""
        if self.folder is None or not self._path(name).is_file():
            return None
        try:
            with np.load(self._path(name), allow_pickle=False) as stored:
                if str(stored[_IDENTITY]) != self._identity(files):
                    return None
                return {key: stored[key] for key in stored.files if key != _IDENTITY}
        except _UNREADABLE:
            return None

    def save(self, name: str, files: Iterable[Path], arrays: Mapping[str, np.ndarray]) -> None:
        """Store the arrays of an image; an entry of an earlier run is replaced."""
        if self.folder is None:
            return
        with atomic_path(self._path(name)) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **{_IDENTITY: np.array(self._identity(files))}, **arrays)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"

    def _identity(self, files: Iterable[Path]) -> str:
        """Options and state of the files, as text that differs when any of them does."""
        states = [
            [str(file.absolute()), file.stat().st_size, file.stat().st_mtime_ns] for file in files
        ]
        return self.options + json.dumps(states)
