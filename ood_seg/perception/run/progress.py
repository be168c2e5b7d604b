"""Progress of a run on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

_SECONDS_BETWEEN_LINES = 10.0


@contextlib.contextmanager
def progress(total: int | None) -> Iterator[Callable[[], None]]:
    """Give a function to call after each image.

    Shows a bar on a terminal; elsewhere, and without the package rich, a line every ten seconds.

    Args:
        total: number of images; None if unknown.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.progress import TimeRemainingColumn as Remaining
    except ImportError:
        yield _line_printer(total)
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _line_printer(total)
        return
    columns = (TextColumn("infer"), BarColumn(), MofNCompleteColumn(), Remaining())
    # While the bar is shown, rich redirects standard error, so that messages stay readable.
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("infer", total=total)
        yield lambda: bar.advance(task)


def _line_printer(total: int | None) -> Callable[[], None]:
    done, printed = 0, time.monotonic()

    def advance() -> None:
        nonlocal done, printed
        done += 1
        if time.monotonic() - printed >= _SECONDS_BETWEEN_LINES:
            printed = time.monotonic()
            of_all = "" if total is None else f" of {total}"
            print(f"ood-seg infer: {done}{of_all} images", file=sys.stderr)

    return advance
