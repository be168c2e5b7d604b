"""Progress of long work: what is shown where standard error is no terminal."""

from __future__ import annotations

import io
import subprocess
import sys
import threading

import pytest

from ood_seg import progress as module
from ood_seg.progress import (
    SECONDS_BETWEEN_LINES,
    duration_text,
    progress_tasks,
    rate_text,
    tracked,
)


class Clock:
    """Seconds that a test sets."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "_now", clock)
    monkeypatch.setattr(module, "_terminal", lambda: None)
    return clock


def test_a_line_at_intervals_with_rate_and_time_left(clock, capsys):
    used = []
    for item in tracked(range(1, 101), "fit"):
        used.append(item)
        clock.seconds += SECONDS_BETWEEN_LINES / 40  # four images a second
    assert used == list(range(1, 101))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "fit: 40 of 100 images, 4/s, 15 s left",
        "fit: 80 of 100 images, 4/s, 5 s left",
    ]
    assert "\r" not in err


def test_short_work_prints_nothing(clock, capsys):
    assert list(tracked([1, 2], "check")) == [1, 2]
    assert capsys.readouterr() == ("", "")


def test_steps_of_batches_and_an_unknown_total(clock, capsys):
    batches = tracked(iter([[1, 2], [3]]), "prior", size=len, unit="scenes")
    for _ in batches:
        clock.seconds += SECONDS_BETWEEN_LINES
    assert capsys.readouterr().err.splitlines() == [
        "prior: 2 scenes, 0.2/s",
        "prior: 3 scenes, 0.15/s",
    ]


def test_several_tasks_and_a_total_that_comes_later(clock, capsys):
    with progress_tasks() as add:
        maps, other = add("maps", unit="maps"), add("layers", 4, "steps")
        clock.seconds += SECONDS_BETWEEN_LINES
        maps.update(5, 10)
        other.advance()  # within the same interval
    assert capsys.readouterr().err == "maps: 5 of 10 maps, 0.5/s, 10 s left\n"


def test_what_came_before_a_task_does_not_count(clock, capsys):
    with progress_tasks() as add:
        clock.seconds += SECONDS_BETWEEN_LINES
        task = add("write", 3)
        clock.seconds += 1
        task.advance()
        assert capsys.readouterr().err == ""
        clock.seconds += SECONDS_BETWEEN_LINES
        task.advance()
    assert capsys.readouterr().err == "write: 2 of 3 images, 0.182/s, 6 s left\n"


def test_other_processes_show_nothing(clock, capsys):
    for _ in tracked(range(5), "fit", enabled=False):
        clock.seconds += SECONDS_BETWEEN_LINES
    assert capsys.readouterr().err == ""


def test_bars_of_a_terminal_hold_rate_and_numbers(monkeypatch, capsys):
    console = pytest.importorskip("rich.console")
    stream = io.StringIO()
    terminal = console.Console(file=stream, force_terminal=True, width=100)
    monkeypatch.setattr(module, "_terminal", lambda: terminal)
    assert list(tracked(range(3), "fit")) == [0, 1, 2]
    assert "3/3" in stream.getvalue()
    assert "images/s" in stream.getvalue()


def test_a_stage_tells_how_long_it_takes(monkeypatch, clock):
    repeated = threading.Event()

    class Stream(io.StringIO):
        def write(self, text):
            if "so far" in text:
                repeated.set()
            return super().write(text)

    stream = Stream()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(module, "SECONDS_BETWEEN_LINES", 0.001)
    with module.stages() as begin:
        begin("exporting")
        clock.seconds += 20
        repeated.clear()
        assert repeated.wait(60)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "exporting"
    assert lines[-1] == "exporting: 20 s so far"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_rates():
    assert [rate_text(rate) for rate in (0.0123, 4.0, 1234.5)] == ["0.0123/s", "4/s", "1234/s"]
    assert rate_text(12.34, "images") == "12.3 images/s"


def test_it_needs_neither_rich_nor_torch():
    code = (
        "import sys; sys.modules['rich'] = None\n"
        "from ood_seg.progress import tracked\n"
        "assert list(tracked([1], 'x')) == [1]\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
