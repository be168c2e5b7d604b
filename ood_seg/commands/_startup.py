"""What happens before the first import of OpenMMLab: safety, compatibility, silence."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

# Printed with a bare `print` while onedl-mmsegmentation is imported.
_NOISE = ("Could not import OneDL",)
_WARNINGS = (
    # Says that an operator is absent which none of our models uses.
    r"Fail to import ``MultiScaleDeformableAttention``",
    # Says what the default of mmseg's cross entropy is.
    r"Default ``avg_non_ignore`` is False",
    # Says that `--show` was not given.
    r"The draw is False, it means that the hook for visualization will not take effect",
)


def prepare() -> None:
    """Import mmengine, mmcv and mmseg quietly, with safe checkpoint loading; idempotent."""
    silence_known_warnings()
    with without_lines(*_NOISE):
        import mmseg.datasets  # noqa: F401
    from ood_seg.apis.checkpoints import secure_loading

    secure_loading()


def silence_known_warnings() -> None:
    """Filter the known harmless warnings by their text; every other one still shows."""
    for text in _WARNINGS:
        warnings.filterwarnings("ignore", message=text)


@contextlib.contextmanager
def without_lines(*noise: str) -> Iterator[None]:
    """Drop lines of standard output that equal one of `noise`; pass on everything else."""
    stream = _LineFilter(sys.stdout, noise)
    with contextlib.redirect_stdout(stream):
        try:
            yield
        finally:
            stream.finish()


class _LineFilter:
    """A text stream that holds back the current line until it is known to be wanted."""

    def __init__(self, target: TextIO, noise: tuple[str, ...]) -> None:
        self._target = target
        self._noise = noise
        self._pending = ""

    def write(self, text: str) -> int:
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            if line.strip() not in self._noise:
                self._target.write(line + "\n")
        return len(text)

    def finish(self) -> None:
        if self._pending.strip() and self._pending.strip() not in self._noise:
            self._target.write(self._pending)
        self._pending = ""

    def __getattr__(self, name: str):
        return getattr(self._target, name)
