"""The newest frame wins, an error costs one frame, and a camera that stops is noticed.

```
camera -> Mailbox (one place; a newer frame replaces it) -> Worker thread -> handle(frame)
                                    \\________ Health ________/ -> diagnostics
```
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ood_seg.ros.health import Health

Item = TypeVar("Item")


class Mailbox(Generic[Item]):
    """A place for one item between threads; a newer item replaces one that still waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Item] = []
        self._closed = False

    def put(self, item: Item) -> bool:
        """Leave an item; return whether one that nobody had taken was dropped for it.

        What is put after `close` is dropped itself.
        """
        with self._changed:
            if self._closed:
                return True
            dropped = bool(self._waiting)
            self._waiting = [item]
            self._changed.notify()
            return dropped

    def take(self) -> Item | None:
        """Wait for an item and return it; None once the mailbox is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            return self._waiting.pop() if self._waiting and not self._closed else None

    def close(self) -> None:
        """Wake who waits; nothing comes any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Worker(Generic[Item]):
    """A thread that handles the newest item, again and again.

    Whatever `handle` raises is noted in `health`, and the next item is handled.
    """

    def __init__(
        self,
        handle: Callable[[Item], object],
        health: Health,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start the thread.

        Args:
            handle: called with one item at a time, in the worker's thread.
            health: is told of arrivals, drops, failures and latencies.
            clock: seconds.
        """
        self.health = health
        self._handle = handle
        self._clock = clock
        self._mailbox: Mailbox[tuple[float, Item]] = Mailbox()
        self._thread = threading.Thread(target=self._run, name="ood_seg worker", daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> None:
        """Hand over the newest item; returns at once."""
        now = self._clock()
        self.health.arrived(now, dropped=self._mailbox.put((now, item)))

    def stop(self, timeout: float | None = None) -> bool:
        """Finish the item in hand and end the thread; return whether it ended in time."""
        self._mailbox.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (waiting := self._mailbox.take()) is not None:
            arrival, item = waiting
            try:
                self._handle(item)
            except Exception as error:
                # One bad frame must never stop the stream; the diagnostics tell of it.
                self.health.failed(str(error) or type(error).__name__)
            else:
                self.health.handled(self._clock() - arrival)
