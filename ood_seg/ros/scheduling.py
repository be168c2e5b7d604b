"""Analysis of the newest frame in a thread: an error costs one frame, and drops are counted.

```
camera -> Channel (one place; a newer frame replaces it) -> thread -> handle(frame)
                          \\________ Health ________/ -> diagnostics
```
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from ood_seg.perception.run.channel import END, Channel
from ood_seg.ros.health import Health

Item = TypeVar("Item")


class Worker(Generic[Item]):
    """A thread that handles the newest item, again and again.

    An error of `handle` is reported to `health`, and the next item is handled.

    Args:
        handle: called with one item at a time, in the thread.
        health: counts arrivals, drops, failures and latencies.
        clock: returns seconds.
    """

    def __init__(
        self,
        handle: Callable[[Item], object],
        health: Health,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.health = health
        self._handle, self._clock = handle, clock
        self._submitting = threading.Lock()
        self._channel = Channel(1, newest_only=True)
        self._thread = threading.Thread(target=self._run, name="ood_seg worker", daemon=True)
        self._thread.start()

    def submit(self, item: Item) -> None:
        """Hand over the newest item; does not block."""
        now = self._clock()
        with self._submitting:
            before = self._channel.dropped
            accepted = self._channel.put((now, item), droppable=True)
            self.health.arrived(now, dropped=not accepted or self._channel.dropped > before)

    def stop(self, timeout: float | None = None) -> bool:
        """Finish the current item and end the thread; return whether it ended in time."""
        self._channel.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (waiting := self._channel.get()) is not END:
            arrival, item = waiting
            try:
                self._handle(item)
            except Exception as error:  # a bad frame must never stop the stream
                self.health.failed(str(error) or type(error).__name__)
            else:
                self.health.handled(self._clock() - arrival)
