"""`--json-summary`: what a command has done, for scripts, in one form for all commands."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ood_seg import __version__
from ood_seg.commands._errors import expected_message
from ood_seg.io.files import require_writable_file, write_text
from ood_seg.io.json_files import finite, plain
from ood_seg.perception.io.shards import shard_of

SCHEMA = "ood_seg.summary/1"
STANDARD_OUTPUT = "-"
_STATUS = {0: "done", 1: "incomplete", 2: "refused", 130: "interrupted"}


@dataclass(frozen=True)
class Outcome:
    """What `run` of a command may return instead of its exit code.

    Attributes:
        code: 0: done; 1: done in part, or something was found to be wrong; 130: interrupted.
        outputs: files and folders that were written.
        numbers: results by name; nested where there are several of a kind.
    """

    code: int = 0
    outputs: Sequence[str | Path] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)


def run_with_summary(
    run: Callable[[], Outcome | int | None],
    report: Callable[[BaseException], int],
    *,
    command: str,
    place: str | None,
) -> int:
    """Run a command and write its summary, also after an error; return the exit code.

    Args:
        run: the command.
        report: given an error, prints it and returns the exit code, or raises it again.
        command: its name.
        place: a file, `-` for standard output, which nothing else is then printed to, or None for
            no summary.

    Raises:
        OSError: the summary cannot be written; before the run, where that can be known.
    """
    if place not in (None, STANDARD_OUTPUT):
        require_writable_file(Path(place))
    started, outcome, message = time.monotonic(), Outcome(code=1), None
    try:
        with _only_for_summary(place):
            found = run()
        outcome = found if isinstance(found, Outcome) else Outcome(code=int(found or 0))
    except (Exception, KeyboardInterrupt) as error:
        message = expected_message(error, command) or f"{type(error).__name__}: {error}"
        outcome = Outcome(code=report(error))
    finally:
        if place is not None and shard_of(os.environ).rank == 0:
            seconds = time.monotonic() - started
            _write(place, _content(command, outcome, seconds=seconds, message=message))
    return outcome.code


@contextlib.contextmanager
def _only_for_summary(place: str | None) -> Iterator[None]:
    """Let what a command prints go to standard error if the summary goes to standard output."""
    if place != STANDARD_OUTPUT:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _content(
    command: str, outcome: Outcome, *, seconds: float, message: str | None
) -> dict[str, Any]:
    from ood_seg.io.provenance import git_commit

    status = _STATUS.get(outcome.code, "failed")
    return {
        "schema": SCHEMA,
        "command": command,
        "status": "failed" if message and status == "incomplete" else status,
        "exit_code": outcome.code,
        "outputs": [os.path.abspath(path) for path in outcome.outputs],
        "numbers": finite(plain(outcome.numbers)),
        "seconds": round(seconds, 3),
        "message": message,
        "version": __version__,
        "commit": git_commit(),
    }


def _write(place: str, content: dict[str, Any]) -> None:
    text = json.dumps(content, indent=2) + "\n"
    if place == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        write_text(Path(place), text)
