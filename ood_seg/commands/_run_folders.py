"""Numbered folders of runs: `runs/infer/1`, `runs/infer/2`, ..."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def new_run_folder(parent: Path) -> Iterator[Path]:
    """Create the folder whose number follows the highest one; removed at the end if it is empty.

    Several processes at a time get folders of their own.

    Raises:
        OSError: it cannot be created.
    """
    parent.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.name) for path in parent.iterdir() if path.name.isdecimal()]
    for number in itertools.count(max(numbers, default=0) + 1):
        folder = parent / str(number)
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            break
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # it holds results
            folder.rmdir()
