"""Set-up before the first import of OpenMMLab: safe loading, compatibility, quiet output."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import TextIO

# Printed with a bare `print` while onedl-mmsegmentation is imported.
_NOISE = ("Could not import OneDL",)
# Listings that belong in the log file, and hints to mmengine's own developers.
_ONLY_IN_LOG_FILE = (
    "\n" + "-" * 60 + "\nSystem environment:",
    "Config:\n",
    "Hooks will be executed in the following order:",
    "Using env variable `OOD_SEG_",
    "Distributed training is not used, all SyncBatchNorm",
    "The prefix is not set in metric class IoUMetric",
    '"FileClient" will be deprecated in future',
    '"HardDiskBackend" is the alias of "LocalBackend"',
)
# Ends of such lines; this one is logged for each frozen weight.
_ENDS_ONLY_IN_LOG_FILE = (" is skipped since its requires_grad=False",)
_WARNINGS = (
    # An operator that none of our models uses is absent.
    r"Fail to import ``MultiScaleDeformableAttention``",
    # States the default of mmseg's cross entropy.
    r"Default ``avg_non_ignore`` is False",
    # Concerns mmseg's own shipped configs.
    r"DeprecationWarning: pretrained is a deprecated",
    # Concerns the internals of mmsegmentation 1.2.
    r"``build_loss`` would be deprecated soon",
    # Printed by each process of a distributed run.
    r"Setting (OMP|MKL)_NUM_THREADS environment variable for each process",
    # Concerns an argument that mmengine itself gives.
    r"`broadcast_buffers` is deprecated",
    # `--show` was not given.
    r"The draw is False, it means that the hook for visualization will not take effect",
    # Advises image sizes that no dataset has.
    r"When align_corners=True, the output would more aligned",
)


def prepare() -> None:
    """Import mmengine, mmcv and mmseg quietly, with safe checkpoint loading; idempotent."""
    from ood_seg import compat

    compat.apply()
    with quiet_imports():
        import mmseg.datasets  # noqa: F401
    from mmengine.logging import MMLogger

    from ood_seg.checkpoints import secure_loading

    secure_loading()
    # The logger that messages go to until a runner makes its own.
    quiet_terminal(MMLogger.get_current_instance())


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Context manager: imports of OpenMMLab print nothing that concerns its own developers."""
    silence_known_warnings()
    with without_lines(*_NOISE):
        yield


def announce_slow_imports() -> None:
    """Let one line on stderr precede the import of torch, which takes seconds.

    Nothing is printed where torch has been imported or is not needed, nor by the other processes
    of a distributed run.
    """
    if "torch" not in sys.modules and os.environ.get("RANK", "0") == "0":
        sys.meta_path.insert(0, _Announcement())


class _Announcement(MetaPathFinder):
    """Finds nothing; prints a line when torch is looked for, once."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "torch" and self in sys.meta_path:
            sys.meta_path.remove(self)
            if importlib.util.find_spec("torch") is not None:
                print("loading torch ...", file=sys.stderr, flush=True)


def silence_known_warnings() -> None:
    """Filter the known harmless warnings by their text; all others are shown."""
    for text in _WARNINGS:
        warnings.filterwarnings("ignore", message=text)


def quiet_terminal(logger: logging.Logger) -> None:
    """Keep the known listings off a logger's terminal output; its files get them."""
    for handler in logger.handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(_is_for_terminal)


def report_log_failure_once(logger: logging.Logger) -> None:
    """Let a logger state once that its files cannot be written, without a traceback per line."""
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            _report_failure_once(handler)


def _report_failure_once(handler: logging.FileHandler) -> None:
    as_usual, reported = handler.handleError, False

    def handle_error(record: logging.LogRecord) -> None:
        nonlocal reported
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            as_usual(record)
        elif not reported:
            reported = True
            message = f"{handler.baseFilename}: {error.strerror}; lines are missing from this log"
            print(message, file=sys.stderr)

    handler.handleError = handle_error  # type: ignore[method-assign]


def _is_for_terminal(record: logging.LogRecord) -> bool:
    text = str(record.msg)
    return not (text.startswith(_ONLY_IN_LOG_FILE) or text.endswith(_ENDS_ONLY_IN_LOG_FILE))


@contextlib.contextmanager
def without_lines(*noise: str) -> Iterator[None]:
    """Drop lines of standard output that equal one of `noise`."""
    stream = _LineFilter(sys.stdout, noise)
    with contextlib.redirect_stdout(stream):
        try:
            yield
        finally:
            stream.finish()


class _LineFilter:
    """A text stream that passes on complete lines, except those that equal one of `noise`."""

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
