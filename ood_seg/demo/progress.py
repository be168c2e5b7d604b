"""Progress bars of the demo's steps, and the seconds that each took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

# Called with the steps done, how many there are (0: as before), and a note.
Report = Callable[[int, int, str], None]


class ProgressBars:
    """One bar for each step; where the console is no terminal, one line for each.

    Attributes:
        seconds: duration of the finished steps by their key.
    """

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description:<36}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.progress = Progress(
            *columns, console=console, redirect_stdout=False, disable=not console.is_terminal
        )
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, key: str, title: str, total: int | None = None) -> Iterator[Report]:
        """Show a bar until the block ends, then fill it, also where nothing had to be done."""
        started, console = time.monotonic(), self.progress.console
        task = self.progress.add_task(title, total=total, note="")

        def report(done: int, all_steps: int, note: str) -> None:
            self.progress.update(task, completed=done, total=all_steps or total, note=note)

        yield report
        self.progress.update(task, completed=total or 1, total=total or 1, note="")
        self.seconds[key] = round(time.monotonic() - started, 1)
        if not console.is_terminal:
            console.print(f"{title}: {self.seconds[key]:.0f} s", highlight=False)
