"""The run of `infer`: from outcomes to sinks, with progress, until the end or Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ood_seg.perception.core.types import Failure
from ood_seg.perception.io.json_lines import JsonLines

_SECONDS_BETWEEN_LINES = 10.0


@dataclass
class Tally:
    """What became of the pictures.

    Attributes:
        written: with all their outputs.
        failed: could not be used.
        interrupted: Ctrl-C came.
    """

    written: int = 0
    failed: int = 0
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 1 where pictures failed, else 0."""
        return 130 if self.interrupted else int(self.failed > 0)


def write_all(
    outcomes: Iterable[Any], sinks: list[Any], lines: JsonLines | None, *, total: int | None
) -> Tally:
    """Write every outcome; Ctrl-C ends it early, with all files finished.

    Args:
        outcomes: of `analyse`.
        sinks: take the results; closed in any case.
        lines: take results and failures last, because a line says that a picture is done.
        total: number of outcomes, for the progress; None where it is not known.

    Raises:
        ValueError: nothing can be written, such as on a full disk.
    """
    tally = Tally()
    complete = False
    try:
        with progress(total) as (advance, say):
            try:
                for outcome in outcomes:
                    _write(outcome, sinks, lines, tally, say)
                    advance()
                complete = True
            except KeyboardInterrupt:
                tally.interrupted = True
            except OSError as error:
                raise ValueError(f"cannot write: {error}") from error
            finally:
                if hasattr(outcomes, "close"):
                    outcomes.close()
    finally:
        for sink in sinks:
            sink.close(complete=complete)
        if lines is not None:
            lines.close()
    return tally


def _write(
    outcome: Any,
    sinks: list[Any],
    lines: JsonLines | None,
    tally: Tally,
    say: Callable[[str], None],
) -> None:
    if not isinstance(outcome, Failure):
        try:
            for sink in sinks:
                sink.write(outcome)
        except (ValueError, OSError) as error:
            # Only this picture's name is wrong; a full disk, say, would stop them all.
            if isinstance(error, OSError) and error.errno != errno.ENAMETOOLONG:
                raise
            outcome = Failure(outcome.name, str(error), outcome.index)
    if isinstance(outcome, Failure):
        tally.failed += 1
        named = outcome.name in outcome.message
        say(outcome.message if named else f"{outcome.name}: {outcome.message}")
        if lines is not None:
            lines.write_failure(outcome)
        return
    if lines is not None:
        lines.write(outcome.to_dict())
    tally.written += 1


@contextlib.contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt inside the block, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread alone
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextlib.contextmanager
def progress(total: int | None) -> Iterator[tuple[Callable[[], None], Callable[[str], None]]]:
    """Two functions: one to be called after each picture, one that shows a message.

    A bar of rich on a terminal; a line now and then where there is none, or rich is missing.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining
    except ImportError:
        yield _Lines(total).advance, _say
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(total).advance, _say
        return
    columns = (TextColumn("infer"), BarColumn(), MofNCompleteColumn(), Remaining())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("infer", total=total)
        yield lambda: bar.advance(task), _say


def _say(message: str) -> None:
    # rich redirects standard error while its bar is shown, so that both stay readable.
    print(f"ood-seg infer: {message}", file=sys.stderr)


class _Lines:
    """Says every ten seconds how far it is."""

    def __init__(self, total: int | None) -> None:
        self._total = "" if total is None else f" of {total}"
        self._done, self._said = 0, time.monotonic()

    def advance(self) -> None:
        self._done += 1
        if time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            _say(f"{self._done}{self._total} images")
