"""Progress of long work on standard error: bars on a terminal, else a line at intervals.

Both show what is done, the rate and the time that is left. Needs nothing beside the standard
library; bars need the package rich.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any, TypeVar

SECONDS_BETWEEN_LINES = 10.0

_T = TypeVar("_T")


class Task:
    """Work of a known or unknown number of steps.

    Attributes:
        title: what is done.
        total: number of steps; None: unknown.
        unit: what a step is, in the plural.
        done: steps so far.
        started: seconds of the clock when it was added.
    """

    def __init__(
        self, title: str, total: int | None, unit: str, show: Callable[[Task], None]
    ) -> None:
        self.title, self.total, self.unit, self.done = title, total, unit, 0
        self._show = show
        self.started = _now()

    def advance(self, steps: int = 1) -> None:
        """Count steps that are done."""
        self.update(self.done + steps)

    def update(self, done: int, total: int | None = None) -> None:
        """Set the number of steps done, and that of all where it is given."""
        self.done, self.total = done, self.total if total is None else total
        self._show(self)

    @property
    def rate(self) -> float | None:
        """Steps per second since the beginning; None before the first one."""
        seconds = _now() - self.started
        return self.done / seconds if self.done and seconds > 0 else None

    def __str__(self) -> str:
        of_all = "" if self.total is None else f" of {self.total}"
        text = f"{self.title}: {self.done}{of_all} {self.unit}"
        if self.rate is None:
            return text
        text += f", {rate_text(self.rate)}"
        if self.total is None:
            return text
        return f"{text}, {duration_text((self.total - self.done) / self.rate)} left"


AddTask = Callable[..., Task]


@contextlib.contextmanager
def progress_tasks(*, enabled: bool = True) -> Iterator[AddTask]:
    """Show the tasks that are added while the block runs.

    Args:
        enabled: False shows nothing, as in all processes but the first.

    Yields:
        A function `(title, total=None, unit="images") -> Task`.
    """
    console = _terminal() if enabled else None
    if console is None:
        show = _line_printer() if enabled else _nothing
        yield lambda title, total=None, unit="images": Task(title, total, unit, show)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    name, rate = TextColumn("{task.description}"), TextColumn("{task.fields[rate]}")
    # While the bars are shown, rich redirects standard error, so that messages stay readable.
    columns = (name, BarColumn(), MofNCompleteColumn(), rate, Remaining())
    with Progress(*columns, console=console) as bars:

        def add(title: str, total: int | None = None, unit: str = "images") -> Task:
            number = bars.add_task(title, total=total, rate="")

            def show(task: Task) -> None:
                text = "" if task.rate is None else rate_text(task.rate, task.unit)
                bars.update(number, completed=task.done, total=task.total, rate=text)

            return Task(title, total, unit, show)

        yield add


@contextlib.contextmanager
def progress(
    title: str, total: int | None = None, *, unit: str = "images", enabled: bool = True
) -> Iterator[Callable[..., None]]:
    """Show one task; gives the function to call after each step, or with their number."""
    with progress_tasks(enabled=enabled) as add:
        yield add(title, total, unit).advance


def tracked(
    items: Iterable[_T],
    title: str,
    total: int | None = None,
    *,
    size: Callable[[_T], int] = lambda item: 1,
    unit: str = "images",
    enabled: bool = True,
) -> Iterator[_T]:
    """Pass items on and show how many have been used.

    Args:
        items: such as batches.
        title: what is done with them.
        total: steps of all items; None: the number of items, where they have one.
        size: steps of an item, such as the images of a batch.
        unit: what a step is, in the plural.
        enabled: False shows nothing.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with progress(title, total, unit=unit, enabled=enabled) as advance:
        for item in items:
            yield item
            advance(size(item))


@contextlib.contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """Print a line when a stage of unknown length begins, and how long it takes, at intervals.

    Yields:
        A function that is called with the title of the stage that begins.
    """
    stage: tuple[str, float] | None = None
    ended = threading.Event()

    def begin(title: str) -> None:
        nonlocal stage
        stage = (title, _now())
        print(title, file=sys.stderr, flush=True)

    def repeat() -> None:
        while not ended.wait(SECONDS_BETWEEN_LINES):
            if stage is not None:
                title, started = stage
                lasting = duration_text(_now() - started)
                print(f"{title}: {lasting} so far", file=sys.stderr, flush=True)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield begin
    finally:
        ended.set()
        thread.join()


def rate_text(rate: float, unit: str = "") -> str:
    """Return a number of steps per second, `12.3 images/s` or `12.3/s`."""
    number = f"{rate:.3g}" if rate < 100 else f"{rate:.0f}"
    return f"{number} {unit}/s" if unit else f"{number}/s"


def duration_text(seconds: float) -> str:
    """Return a duration as `45 s`, `3 min 05 s` or `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _terminal() -> Any:
    """A console on standard error, if that is a terminal and rich is installed."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    console = Console(stderr=True)
    return console if console.is_terminal else None


def _line_printer() -> Callable[[Task], None]:
    printed = 0.0

    def show(task: Task) -> None:
        nonlocal printed
        if _now() - max(printed, task.started) >= SECONDS_BETWEEN_LINES:
            printed = _now()
            print(task, file=sys.stderr, flush=True)

    return show


def _nothing(task: Task) -> None:
    """Show nothing."""


def _now() -> float:
    return time.monotonic()
