"""Tasks on the images of a dataset in threads: bounded memory, every bad file named."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from ood_seg.datasets.listing import shorten

_OF_ONE_FILE = (FileNotFoundError, PermissionError, IsADirectoryError)

Item = TypeVar("Item")
Result = TypeVar("Result")


def for_each(
    task: Callable[[Item], Result], items: Iterable[Item], *, workers: int = 1
) -> Iterator[Result]:
    """Yield `task(item)` in the order of the items; at most `2 * workers` are under way.

    A bad file does not stop the others: ValueErrors, and the errors of files that are gone or must
    not be read, are collected and raised together at the end. Any other error, such as that of a
    full disk, is raised immediately.

    Raises:
        ValueError: one or more tasks raised one of those; all messages.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    problems: list[Exception] = []
    waiting: deque[Future[Result]] = deque()

    def finished() -> Iterator[Result]:
        try:
            yield waiting.popleft().result()
        except (ValueError, *_OF_ONE_FILE) as error:
            problems.append(error)

    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(task, item))
            if len(waiting) >= 2 * workers:
                yield from finished()
        while waiting:
            yield from finished()
    finally:
        pool.shutdown(cancel_futures=True)
    if len(problems) == 1:
        raise ValueError(str(problems[0])) from problems[0]
    if problems:
        raise ValueError(
            f"{len(problems)} images cannot be evaluated:\n  - "
            + shorten(problems, separator="\n  - ")
        ) from problems[0]


@contextmanager
def warnings_as_notes() -> Iterator[list[str]]:
    """Collect the warnings of the block as sentences for the reader of the result."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield notes
        notes += [str(item.message) for item in caught if item.category is UserWarning]
