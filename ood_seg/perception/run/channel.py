"""A bounded queue between two threads that either side can end."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

END = object()


class Channel:
    """Hands items from one thread to another.

    Args:
        size: items that wait at most; the producer is held up by more.
        newest_only: an item that may be dropped replaces those that wait and may be, so that the
            producer is never held up.

    Attributes:
        dropped: items that were replaced.
    """

    def __init__(self, size: int, *, newest_only: bool = False) -> None:
        if size < 1:
            raise ValueError(f"a queue between threads holds at least one item, got {size}")
        self._size, self._newest_only = size, newest_only
        self._items: deque[tuple[Any, bool]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0

    def put(self, item: Any, *, droppable: bool = False) -> bool:
        """Add an item, waiting for room; return False if nobody wants it any more."""
        with self._changed:
            if self._newest_only and droppable:
                kept = [entry for entry in self._items if not entry[1]]
                self.dropped += len(self._items) - len(kept)
                self._items = deque(kept)
            else:
                self._changed.wait_for(lambda: self._closed or len(self._items) < self._size)
            if self._closed:
                return False
            self._items.append((item, droppable))
            self._changed.notify_all()
            return True

    def get(self) -> Any:
        """The oldest item, waiting for one; `END` when the channel is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items)
            if self._closed:
                return END
            item, _ = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Let go of what waits, and wake both sides."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
