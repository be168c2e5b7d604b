"""A bounded queue of images in front of one model; images of equal size run together.

```
submit(image) -> queue (bounded; Busy when full) -> worker thread -> predict(batch) -> Future
```

The model runs in one thread only. A request waits for others of its batch for at most `max_wait`
seconds, and only while the batch is not full.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ood_seg.perception.core.types import Prediction

_STOP = object()


class Busy(Exception):
    """The queue is full; the request may be repeated later."""


@dataclass(eq=False)
class _Request:
    image: np.ndarray
    future: Future = field(default_factory=Future)


class BatchWorker:
    """Runs a model on submitted images, in batches, in its own thread.

    Args:
        predict: returns a prediction for each of several images `(H, W, 3)` of equal size.
        max_batch: images per batch.
        max_wait: seconds to wait for further images after the first of a batch.
        max_queue: images that may wait; more raise `Busy`.
        observe: called after each batch with the number of images and the seconds it took.

    Raises:
        ValueError: `max_batch` or `max_queue` below 1, or a negative `max_wait`.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[np.ndarray]], list[Prediction]],
        *,
        max_batch: int = 4,
        max_wait: float = 0.005,
        max_queue: int = 32,
        observe: Callable[[int, float], Any] = lambda count, seconds: None,
    ) -> None:
        if max_batch < 1 or max_queue < 1 or not max_wait >= 0:
            raise ValueError(
                "max_batch and max_queue must be at least 1 and max_wait at least 0, got "
                f"{max_batch}, {max_queue} and {max_wait}"
            )
        self._predict, self._observe = predict, observe
        self._max_batch, self._max_wait = max_batch, max_wait
        self._queue: queue.Queue = queue.Queue(max_queue)
        self._held: _Request | None = None  # of another size than the batch before it
        self._closing = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Images in the queue."""
        return self._queue.qsize()

    @property
    def alive(self) -> bool:
        """Whether the thread is alive."""
        return self._thread.is_alive()

    def submit(self, image: np.ndarray) -> Future:
        """Queue an image.

        Returns:
            A future of its `Prediction`, or of the error of its prediction.

        Raises:
            Busy: the queue is full, or the worker was closed.
        """
        request = _Request(image)
        with self._closing:  # nothing may follow the stop marker
            if self._closed:
                raise Busy("the service is shutting down")
            try:
                self._queue.put_nowait(request)
            except queue.Full:
                raise Busy(f"{self._queue.maxsize} images are waiting") from None
        return request.future

    def close(self) -> None:
        """Finish the queued images, then end the thread."""
        with self._closing:
            already, self._closed = self._closed, True
        if not already:
            self._queue.put(_STOP)
        self._thread.join()

    def _run(self) -> None:
        while True:
            first = self._held if self._held is not None else self._queue.get()
            self._held = None
            if first is _STOP:
                return
            batch, stop = self._gather(first)
            self._answer(batch)
            if stop:
                return

    def _gather(self, first: _Request) -> tuple[list[_Request], bool]:
        """The batch that starts with a request, and whether it is the last."""
        batch, deadline = [first], time.monotonic() + self._max_wait
        while len(batch) < self._max_batch:
            try:
                timeout = deadline - time.monotonic()
                item = self._queue.get(timeout=timeout) if timeout > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if item is _STOP:
                return batch, True
            if item.image.shape != first.image.shape:
                self._held = item
                break
            batch.append(item)
        return batch, False

    def _answer(self, batch: list[_Request]) -> None:
        """Predict a batch; if that fails, each image alone, so that only the bad one fails."""
        batch = [one for one in batch if one.future.set_running_or_notify_cancel()]
        error = self._predict_together(batch) if batch else None
        if error is None:
            return
        if len(batch) == 1:
            batch[0].future.set_exception(error)
            return
        for one in batch:
            error = self._predict_together([one])
            if error is not None:
                one.future.set_exception(error)

    def _predict_together(self, batch: list[_Request]) -> Exception | None:
        """Predict and set the results, or return the error."""
        start = time.monotonic()
        try:
            predictions = self._predict([one.image for one in batch])
        except Exception as error:
            return error
        self._observe(len(batch), time.monotonic() - start)
        for one, prediction in zip(batch, predictions, strict=True):
            one.future.set_result(prediction)
        return None
