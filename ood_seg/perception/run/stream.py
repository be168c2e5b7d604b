"""From frames to results, with decoding, the network and the judging beside each other.

```
thread 1: frames -> chunks of up to batch_size
thread 2: Segmentor.predict
caller:   temporal filter, decision rule, tracker -> result
```
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from ood_seg.perception.core.types import Failure, Frame, Prediction
from ood_seg.perception.io.frame_source import FrameSource
from ood_seg.perception.run.channel import END, Channel

if TYPE_CHECKING:
    from ood_seg.perception.core.result import AnomalyResult
    from ood_seg.perception.run.segmentor import Segmentor

# A thread that waits for a camera cannot be stopped, and is left behind after so many seconds; the
# network is given time to end its batch, as a process must not exit under it.
_PATIENCE_S = {"decode": 2.0, "predict": 60.0}


class _Read(NamedTuple):
    """A frame with the moment at which its reading began, and the seconds that it took."""

    outcome: Frame | Failure
    begun: float
    decode: float


class _Predicted(NamedTuple):
    read: _Read
    prediction: Prediction | None
    seconds: float


class _Raised(NamedTuple):
    error: BaseException


def analyse(
    segmentor: Segmentor,
    frames: Iterable[Frame | Failure],
    *,
    batch_size: int = 1,
    prefetch: int = 2,
    temporal: Callable[..., Prediction] | None = None,
    tracker: Callable[[AnomalyResult], AnomalyResult] | None = None,
) -> Analysis:
    """Predict frames and decide on them in their order.

    Args:
        segmentor: predicts and judges.
        frames: a source, or any iterable; endless ones need no more memory than short ones.
        batch_size: frames given to the network together. A live source is not waited for.
        prefetch: chunks that are decoded ahead, and that wait for a decision.
        temporal: called with frame, prediction and `segmentor.probability`; gives the prediction
            that is decided on.
        tracker: called with each result; gives the one to be handed out.

    Returns:
        An iterator of one `AnomalyResult` or `Failure` for each frame; the latency of a result
        has the seconds of `decode`, `predict` (a chunk's, shared out evenly), `judge` and `total`,
        waiting included. Of a live source, frames that come while the network is busy are
        replaced by newer ones.

    Raises:
        ValueError: sizes below 1. Errors of the source or network, other than a ValueError about
            single frames, are raised where the frame would have come.
    """
    for name, value in (("batch_size", batch_size), ("prefetch", prefetch)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    return Analysis(segmentor, frames, batch_size, prefetch, temporal, tracker)


class Analysis:
    """What `analyse` returns: an iterator that can be closed before its end.

    Attributes:
        dropped: frames of a live source that were replaced by newer ones so far.
    """

    def __init__(self, segmentor, frames, batch_size, prefetch, temporal, tracker) -> None:
        live = getattr(frames, "live", False)
        self._chunks = Channel(prefetch, newest_only=live)
        self._predicted = Channel(1 if live else prefetch)
        reading = (frames, 1 if live else batch_size, self._chunks)
        self._threads = [
            threading.Thread(target=_read, args=reading, name="decode", daemon=True),
            threading.Thread(
                target=_predict,
                args=(segmentor, self._chunks, self._predicted),
                name="predict",
                daemon=True,
            ),
        ]
        self._frames = frames
        self._finish = _Finishing(segmentor, temporal, tracker)
        self._outcomes = self._run()

    @property
    def dropped(self) -> int:
        """See the class."""
        return self._chunks.dropped

    def __iter__(self) -> Iterator[AnomalyResult | Failure]:
        return self

    def __next__(self) -> AnomalyResult | Failure:
        return next(self._outcomes)

    def close(self) -> None:
        """Stop reading, and end the threads."""
        self._outcomes.close()

    def __enter__(self) -> Analysis:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> Iterator[AnomalyResult | Failure]:
        # Not `self`: a generator that holds its owner would keep the threads alive.
        return _outcomes(self._threads, self._frames, self._chunks, self._predicted, self._finish)


def _outcomes(
    threads: list[threading.Thread],
    frames: Iterable[Frame | Failure],
    chunks: Channel,
    predicted: Channel,
    finish: _Finishing,
) -> Iterator[AnomalyResult | Failure]:
    """Start the threads, finish what comes out of them, and end them in any case."""
    for thread in threads:
        thread.start()
    try:
        while (item := predicted.get()) is not END:
            if isinstance(item, _Raised):
                raise item.error
            if item is None:
                return
            yield finish(item)
    finally:
        chunks.close()
        predicted.close()
        if isinstance(frames, FrameSource):
            frames.close()
        for thread in threads:
            thread.join(_PATIENCE_S[thread.name])


def _read(frames: Iterable[Frame | Failure], size: int, chunks: Channel) -> None:
    """First thread: frames into chunks; None at the end."""
    chunk: list[_Read] = []
    try:
        iterator = iter(frames)
        with contextlib.closing(iterator) if hasattr(iterator, "close") else _nothing():
            while True:
                begun = time.perf_counter()
                outcome = next(iterator, END)
                if outcome is END:
                    break
                chunk.append(_Read(outcome, begun, time.perf_counter() - begun))
                if len(chunk) == size:
                    if not chunks.put(chunk, droppable=isinstance(outcome, Frame)):
                        return
                    chunk = []
        last: Any = None
    except BaseException as error:  # handed to the caller's thread, whatever it is
        last = _Raised(error)
    if chunk:
        chunks.put(chunk)
    chunks.put(last)


def _nothing() -> contextlib.AbstractContextManager:
    return contextlib.nullcontext()


def _predict(segmentor: Segmentor, chunks: Channel, predicted: Channel) -> None:
    """Second thread: chunks into predictions, one by one; passes on the end."""
    while (chunk := chunks.get()) is not END:
        if chunk is None or isinstance(chunk, _Raised):
            predicted.put(chunk)
            return
        try:
            items = list(_predict_chunk(segmentor, chunk))
        except BaseException as error:  # handed to the caller's thread, whatever it is
            predicted.put(_Raised(error))
            return
        for item in items:
            if not predicted.put(item):
                return


def _predict_chunk(segmentor: Segmentor, chunk: list[_Read]) -> Iterator[_Predicted]:
    frames = [read for read in chunk if isinstance(read.outcome, Frame)]
    done = iter(_predict_frames(segmentor, frames))
    for read in chunk:
        yield next(done) if isinstance(read.outcome, Frame) else _Predicted(read, None, 0.0)


def _predict_frames(segmentor: Segmentor, reads: list[_Read]) -> list[_Predicted]:
    """Predict together; where that is refused, each alone, so that only the culprit fails."""
    if not reads:
        return []
    begun = time.perf_counter()
    try:
        predictions = segmentor.predict([read.outcome.image for read in reads])
    except ValueError as error:
        if len(reads) > 1:
            return [one for read in reads for one in _predict_frames(segmentor, [read])]
        frame = reads[0].outcome
        failed = reads[0]._replace(outcome=Failure(frame.name, str(error), frame.index))
        return [_Predicted(failed, None, 0.0)]
    seconds = (time.perf_counter() - begun) / len(reads)
    pairs = zip(reads, predictions, strict=True)
    return [_Predicted(read, prediction, seconds) for read, prediction in pairs]


class _Finishing:
    """Makes results of predictions in the caller's thread, so that filters see their order."""

    def __init__(self, segmentor: Segmentor, temporal: Any, tracker: Any) -> None:
        self._segmentor, self._temporal, self._tracker = segmentor, temporal, tracker
        self._stamp: float | None = None

    def __call__(self, item: _Predicted) -> AnomalyResult | Failure:
        frame, prediction = item.read.outcome, item.prediction
        if isinstance(frame, Failure):
            return frame
        begun = time.perf_counter()
        self._reset_between_videos(frame.stamp)
        latency = {"decode": item.read.decode, "predict": item.seconds}
        try:
            if self._temporal is not None:
                prediction = self._temporal(frame, prediction, self._segmentor.probability)
            result = self._segmentor.result(frame, prediction, latency)
            if self._tracker is not None:
                result = self._tracker(result)
        except ValueError as error:
            return Failure(frame.name, str(error), frame.index)
        now = time.perf_counter()
        latency |= {"judge": now - begun, "total": now - item.read.begun}
        return replace(result, latency=latency)

    def _reset_between_videos(self, stamp: float | None) -> None:
        """Time that runs backwards is the start of the next video in a list."""
        if stamp is not None and self._stamp is not None and stamp < self._stamp:
            for stage in (self._temporal, self._tracker):
                if hasattr(stage, "reset"):
                    stage.reset()
        self._stamp = stamp
