"""From frames to results; reading, prediction and decision run at the same time.

```
thread 1: frames -> chunks of up to batch_size
thread 2: predict
caller:   temporal filter, decision rule, tracker -> result
```
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from ood_seg.perception.core.errors import ends_run
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Failure, Frame, FrameSource, Prediction
from ood_seg.perception.run.channel import END, Channel

# A thread that waits for a camera cannot be stopped and is abandoned after this many seconds. The
# model gets time to finish its batch, as the process must not exit while it runs.
_JOIN_TIMEOUT_S = {"decode": 2.0, "predict": 60.0}


Outcomes = Generator[AnomalyResult | Failure, None, None]


class Model(Protocol):
    """What a stream needs of a `Segmentor`; see there."""

    def predict(self, images: Sequence[np.ndarray]) -> list[Prediction]: ...

    def probability(self, scores: np.ndarray) -> np.ndarray | None: ...

    def result(
        self, frame: Frame, prediction: Prediction, latency: Mapping[str, float] | None = None
    ) -> AnomalyResult: ...


def analyse(
    segmentor: Model,
    frames: Iterable[Frame | Failure],
    *,
    batch_size: int = 1,
    prefetch: int = 2,
    temporal: Callable[..., Prediction] | None = None,
    tracker: Callable[[AnomalyResult], AnomalyResult] | None = None,
) -> Analysis:
    """Return the outcomes of frames, in their order.

    Args:
        segmentor: the model, called from one thread.
        frames: a source, or any iterable. Memory is bounded, also for endless ones.
        batch_size: frames predicted together; 1 for live sources.
        prefetch: chunks read ahead, and chunks that wait for a decision.
        temporal: called with frame, prediction and `segmentor.probability`; returns the
            prediction to decide on.
        tracker: called with each result; returns the result to output.

    Returns:
        An iterator of one `AnomalyResult` or `Failure` per frame. The latency of a result has the
        seconds of `decode`, `predict` (of the chunk, divided by its frames), `judge` (the decision)
        and `total`, waiting included. Frames of a live source that arrive while the model is busy
        are replaced by newer ones.

    Raises:
        ValueError: sizes below 1. An error of the model, the filter or the tracker becomes the
            `Failure` of its frame, unless every further frame would meet it
            (`core.errors.ends_run`); such errors, and those of the source, are raised where the
            frame would have come.
    """
    for name, value in (("batch_size", batch_size), ("prefetch", prefetch)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
    live = getattr(frames, "live", False)
    chunks = Channel(prefetch, newest_only=live)
    predicted = Channel(1 if live else prefetch)
    threads = [
        _thread("decode", _read, frames, 1 if live else batch_size, chunks),
        _thread("predict", _predict, segmentor, chunks, predicted),
    ]
    finish = _Finish(segmentor, temporal, tracker)
    return Analysis(chunks, _outcomes(threads, frames, chunks, predicted, finish))


class Analysis:
    """An iterator of outcomes, see `analyse`, that can be closed before its end."""

    def __init__(self, chunks: Channel, outcomes: Outcomes) -> None:
        self._chunks, self._outcomes = chunks, outcomes

    @property
    def dropped(self) -> int:
        """Number of frames of a live source that were replaced by newer ones so far."""
        return self._chunks.dropped

    def __iter__(self) -> Iterator[AnomalyResult | Failure]:
        return self

    def __next__(self) -> AnomalyResult | Failure:
        return next(self._outcomes)

    def close(self) -> None:
        """Stop reading and end the threads."""
        self._outcomes.close()

    def __enter__(self) -> Analysis:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Read(NamedTuple):
    """A frame, the time at which its reading started, and the seconds that it took."""

    frame: Frame
    start: float
    seconds: float


class _Predicted(NamedTuple):
    read: _Read
    prediction: Prediction
    seconds: float


class _Raised(NamedTuple):
    error: BaseException


def _thread(name: str, function: Callable[..., None], *arguments: Any) -> threading.Thread:
    return threading.Thread(target=function, args=arguments, name=name, daemon=True)


def _outcomes(
    threads: Sequence[threading.Thread],
    frames: Iterable[Frame | Failure],
    chunks: Channel,
    predicted: Channel,
    finish: _Finish,
) -> Outcomes:
    """Start the threads, finish their items, and always end them."""
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
            thread.join(_JOIN_TIMEOUT_S[thread.name])


def _read(frames: Iterable[Frame | Failure], size: int, chunks: Channel) -> None:
    """First thread: frames into chunks; None marks the end."""
    chunk: list[_Read | Failure] = []
    last: _Raised | None = None
    try:
        with contextlib.ExitStack() as stack:
            iterator = iter(frames)
            if hasattr(iterator, "close"):
                stack.callback(iterator.close)
            while True:
                start = time.perf_counter()
                outcome = next(iterator, None)
                if outcome is None:
                    break
                if isinstance(outcome, Frame):
                    chunk.append(_Read(outcome, start, time.perf_counter() - start))
                else:
                    chunk.append(outcome)
                if len(chunk) == size:
                    if not chunks.put(chunk, droppable=isinstance(outcome, Frame)):
                        return
                    chunk = []
    except BaseException as error:  # any error is raised in the thread of the caller
        last = _Raised(error)
    if chunk:
        chunks.put(chunk)
    chunks.put(last)


def _predict(segmentor: Model, chunks: Channel, predicted: Channel) -> None:
    """Second thread: chunks into single predicted items; passes on the end."""
    while (chunk := chunks.get()) is not END:
        if chunk is None or isinstance(chunk, _Raised):
            predicted.put(chunk)
            return
        try:
            items = _predict_chunk(segmentor, chunk)
        except BaseException as error:  # any error is raised in the thread of the caller
            predicted.put(_Raised(error))
            return
        for item in items:
            if not predicted.put(item):
                return


def _predict_chunk(segmentor: Model, chunk: list[_Read | Failure]) -> list[_Predicted | Failure]:
    """Predict the frames of a chunk; its failures keep their places."""
    reads = [item for item in chunk if isinstance(item, _Read)]
    predicted = iter(_predict_frames(segmentor, reads) if reads else ())
    return [next(predicted) if isinstance(item, _Read) else item for item in chunk]


def _predict_frames(segmentor: Model, reads: list[_Read]) -> list[_Predicted | Failure]:
    """Predict together; after an error each alone, so that only the bad frame fails."""
    start = time.perf_counter()
    frame = reads[0].frame
    try:
        predictions = segmentor.predict([read.frame.image for read in reads])
        if len(predictions) != len(reads):
            raise ValueError(
                f"the model gave {len(predictions)} predictions of {len(reads)} images"
            )
    except Exception as error:  # whatever the runtimes raise
        if ends_run(error):
            raise
        failure = Failure.of(error, frame.name, frame.index)
    else:
        seconds = (time.perf_counter() - start) / len(reads)
        pairs = zip(reads, predictions, strict=True)
        return [_Predicted(read, prediction, seconds) for read, prediction in pairs]
    # After the `except` block, in which the error would keep the memory of the batch.
    if len(reads) == 1:
        return [failure]
    return [one for read in reads for one in _predict_frames(segmentor, [read])]


class _Finish:
    """Turns predicted items into results, in the thread of the caller and in order."""

    def __init__(self, segmentor: Model, temporal: Any, tracker: Any) -> None:
        self._segmentor, self._temporal, self._tracker = segmentor, temporal, tracker
        self._stamp: float | None = None

    def __call__(self, item: _Predicted | Failure) -> AnomalyResult | Failure:
        if isinstance(item, Failure):
            return item
        frame, prediction = item.read.frame, item.prediction
        start = time.perf_counter()
        self._reset_between_videos(frame.stamp)
        try:
            if self._temporal is not None:
                prediction = self._temporal(frame, prediction, self._segmentor.probability)
            result = self._segmentor.result(frame, prediction)
            if self._tracker is not None:
                result = self._tracker(result)
        except Exception as error:  # such as cv2.error or a MemoryError
            if ends_run(error):
                raise
            return Failure.of(error, frame.name, frame.index)
        end = time.perf_counter()
        latency = {"decode": item.read.seconds, "predict": item.seconds, "judge": end - start}
        return replace(result, latency={**latency, "total": end - item.read.start})

    def _reset_between_videos(self, stamp: float | None) -> None:
        """Reset the stages where time runs backwards: the next video of a list begins."""
        if stamp is not None and self._stamp is not None and stamp < self._stamp:
            for stage in (self._temporal, self._tracker):
                if hasattr(stage, "reset"):
                    stage.reset()
        self._stamp = stamp
