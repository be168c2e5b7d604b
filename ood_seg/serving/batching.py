"""A bounded queue of images in front of one model; images of equal size run together.

```
submit(image) -> queue (bounded; Busy when full) -> worker thread -> predict(batch) -> Future
```

The model runs in one thread only. A request waits for others of its batch for at most `max_wait`
seconds, and only while the batch is not full.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ood_seg.perception.core.types import Prediction

logger = logging.getLogger(__name__)
_STOP = object()


class Busy(Exception):
    """The queue is full; the request may be repeated later."""


class ModelStopped(Exception):
    """The thread of the model has ended by an error; only a new process can go on."""


@dataclass(eq=False)
class _Request:
    image: np.ndarray
    future: Future = field(default_factory=Future)


class BatchWorker:
    """Runs a model on submitted images, in batches, in its own thread.

    Args:
        predict: returns a prediction for each of several images `(H, W, 3)` of equal size.
        max_batch: images per batch.
        max_pixels: pixels per batch of several images; None for any number.
        max_wait: seconds to wait for further images after the first of a batch.
        max_queue: images that may wait; more raise `Busy`.
        observe: called after each batch with the number of images and the seconds it took.

    Attributes:
        error: what ended the thread; None while it runs and after `close`.
        on_error: called once `error` is set, in the thread.

    Raises:
        ValueError: `max_batch` or `max_queue` below 1, or a negative `max_wait`.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[np.ndarray]], list[Prediction]],
        *,
        max_batch: int = 4,
        max_pixels: int | None = None,
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
        self._max_batch, self._max_pixels = max_batch, max_pixels
        self._max_wait, self._max_queue = max_wait, max_queue
        self.error: BaseException | None = None
        self.on_error: Callable[[], Any] = lambda: None
        # Its length is limited in `submit`, so that no `put` ever blocks.
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._held: _Request | None = None  # does not fit to the batch before it
        self._batch: list[_Request] = []
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
        return self.error is None and self._thread.is_alive()

    def submit(self, image: np.ndarray) -> Future:
        """Queue an image.

        Returns:
            A future of its `Prediction`, or of the error of its prediction; `ModelStopped` if the
            thread ends before it.

        Raises:
            Busy: the queue is full, or the worker was closed.
            ModelStopped: the thread has ended.
        """
        request = _Request(image)
        with self._closing:  # nothing may follow the stop marker
            if self.error is not None:
                raise ModelStopped(f"the model has ended: {self.error!r}")
            if self._closed:
                raise Busy("the service is shutting down")
            if self._queue.qsize() >= self._max_queue:
                raise Busy(f"{self._max_queue} images are waiting")
            self._queue.put(request)
        return request.future

    def close(self, timeout: float | None = None) -> None:
        """Finish the queued images, then end the thread.

        Args:
            timeout: seconds to wait for that; a model that hangs is left to the end of the process.
        """
        with self._closing:
            if not self._closed:
                self._queue.put(_STOP)
            self._closed = True
        self._thread.join(timeout)

    def _run(self) -> None:
        stop = False
        try:
            while not stop:
                self._batch, stop = self._gather()
                self._answer(self._batch)
                self._batch = []  # nothing of it may stay in memory until the next one
        except BaseException as error:
            logger.exception("the model has ended")
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Answer every request that is left, and refuse further ones."""
        with self._closing:
            self.error = error
        left = [*self._batch, self._held]
        while not self._queue.empty():
            left.append(self._queue.get())
        for one in left:
            with contextlib.suppress(InvalidStateError):  # answered, or cancelled
                if isinstance(one, _Request):
                    one.future.set_exception(ModelStopped(f"the model has ended: {error!r}"))
        self.on_error()

    def _gather(self) -> tuple[list[_Request], bool]:
        """The next batch, and whether it is the last; an empty one if nothing is left."""
        first = self._held if self._held is not None else self._queue.get()
        self._held = None
        if first is _STOP:
            return [], True
        batch, deadline = [first], time.monotonic() + self._max_wait
        while len(batch) < self._max_batch:
            try:
                timeout = deadline - time.monotonic()
                item = self._queue.get(timeout=timeout) if timeout > 0 else self._queue.get_nowait()
            except queue.Empty:
                break
            if item is _STOP:
                return batch, True
            if item.image.shape != first.image.shape or not self._has_room(batch):
                self._held = item
                break
            batch.append(item)
        return batch, False

    def _has_room(self, batch: list[_Request]) -> bool:
        """Whether one more image of their size is within the pixels of a batch."""
        height, width = batch[0].image.shape[:2]
        return self._max_pixels is None or (len(batch) + 1) * height * width <= self._max_pixels

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
            if len(predictions) != len(batch):
                raise ValueError(
                    f"the model returned {len(predictions)} predictions for {len(batch)} images"
                )
            self._observe(len(batch), time.monotonic() - start)
        except Exception as error:
            return error
        for one, prediction in zip(batch, predictions, strict=True):
            one.future.set_result(prediction)
        return None
