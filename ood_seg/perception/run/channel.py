"""A bounded queue between two threads that either side can close."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

END = object()


class Channel:
    """Hands items from one thread to another.

    Args:
        size: number of items that may wait; `put` blocks when it is reached.
        newest_only: a droppable item replaces the droppable ones that wait, so that `put` does not
            block.

    Attributes:
        dropped: number of items that were replaced.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, size: int, *, newest_only: bool = False) -> None:
        if size < 1:
            raise ValueError(f"size: expected at least 1 item, got {size}")
        self._size, self._newest_only = size, newest_only
        self._items: deque[tuple[Any, bool]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.dropped = 0

    def put(self, item: Any, *, droppable: bool = False) -> bool:
        """Add an item when there is room; return False if the channel is closed."""
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
        """Return the oldest item when there is one; `END` once the channel is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items)
            if self._closed:
                return END
            item, _ = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Drop the waiting items and wake both sides."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()
