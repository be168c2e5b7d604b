"""Order, batches, failures, threads and memory of the analysis of a stream."""

from __future__ import annotations

import gc
import re
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from fake_segmentor import FakeSegmentor, random_image

from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Failure, Frame, FrameSource
from ood_seg.perception.run.stream import analyse


def frames(count: int, *, height: int = 37) -> list[Frame]:
    return [Frame(random_image(i, height), f"f{i}", i, i / 10) for i in range(count)]


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()} & {"decode", "predict"}


def wait_until_no_threads() -> None:
    deadline = time.monotonic() + 30
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads()


@pytest.mark.parametrize("batch_size", [1, 3, 20])
def test_results_are_those_of_single_images_in_order(batch_size):
    given = frames(7) + frames(2, height=20) + [Failure("x", "broken", 9)] + frames(3)
    segmentor = FakeSegmentor()
    outcomes = list(analyse(segmentor, given, batch_size=batch_size))
    made = list(segmentor.batches)
    assert [one.name for one in outcomes] == [one.name for one in given]
    assert isinstance(outcomes[9], Failure)
    for frame, result in zip(given, outcomes, strict=True):
        if isinstance(result, AnomalyResult):
            expected = segmentor.result(frame, segmentor.predict([frame.image])[0])
            np.testing.assert_array_equal(result.anomaly, expected.anomaly)
            np.testing.assert_array_equal(result.mask, expected.mask)
    assert sum(made) == 12  # the failure is not predicted
    assert max(made) == min(batch_size, 12)
    wait_until_no_threads()


def test_latency_of_each_stage():
    (result,) = analyse(FakeSegmentor(seconds=0.05), frames(1))
    assert list(result.latency) == ["decode", "predict", "judge", "total"]
    assert 0.05 <= result.latency["predict"] < result.latency["total"]
    first, second = analyse(FakeSegmentor(seconds=0.1), frames(2), batch_size=2)
    assert 0.05 <= first.latency["predict"] == second.latency["predict"]
    assert 2 * first.latency["predict"] < first.latency["total"]


def test_an_image_that_the_model_refuses_fails_alone():
    given = frames(4)
    given[2].image[0, 0, 2] = 255
    outcomes = list(analyse(FakeSegmentor(), given, batch_size=4))
    assert [type(one) for one in outcomes] == [AnomalyResult] * 2 + [Failure, AnomalyResult]
    assert (outcomes[2].name, outcomes[2].index) == ("f2", 2)
    assert outcomes[2].message == "scores are NaN"


def test_errors_of_the_source_and_a_lost_gpu_reach_the_caller():
    def breaking() -> Iterator[Frame]:
        yield from frames(3)
        raise OSError("disk is gone")

    seen = []
    with pytest.raises(OSError, match="disk is gone"):
        seen.extend(one.name for one in iter_into(seen, analyse(FakeSegmentor(), breaking())))
    assert [one.name for one in seen] == ["f0", "f1", "f2"]

    class LostDevice(FakeSegmentor):
        def predict(self, images):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(RuntimeError, match="illegal memory access"):
        list(analyse(LostDevice(), frames(3)))
    wait_until_no_threads()


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), r"out of memory \(CUDA"),
        (MemoryError(), r"out of memory \(MemoryError\)"),
        (cv2.error("(-215:Assertion failed) inv_scale_x > 0"), "error: .*inv_scale_x > 0"),
        (TypeError("unsupported\noperand"), "TypeError: unsupported operand"),
    ],
)
@pytest.mark.parametrize("stage", ["predict", "result", "temporal", "tracker"])
def test_an_image_fails_alone_whatever_it_raises(stage, error, message, batch_size):
    class Failing(FakeSegmentor):
        def predict(self, images):
            if stage == "predict" and any(image[0, 0, 0] == 7 for image in images):
                raise error
            return super().predict(images)

        def result(self, frame, prediction, latency=None):
            if stage == "result" and frame.name == "f1":
                raise error
            return super().result(frame, prediction, latency)

    def fails(name: str, passed):
        if name == "f1":
            raise error
        return passed

    stages = {
        "temporal": {"temporal": lambda frame, prediction, _: fails(frame.name, prediction)},
        "tracker": {"tracker": lambda result: fails(result.name, result)},
    }
    given = frames(4)
    for index, frame in enumerate(given):
        frame.image[0, 0, 0] = 7 if index == 1 else 8
    segmentor = Failing()
    outcomes = list(analyse(segmentor, given, batch_size=batch_size, **stages.get(stage, {})))
    assert [type(one) for one in outcomes] == [AnomalyResult, Failure] + [AnomalyResult] * 2
    assert [one.name for one in outcomes] == ["f0", "f1", "f2", "f3"]
    assert re.match(message, outcomes[1].message)
    assert outcomes[1].cause is error
    if stage in ("predict", "result"):
        alone = list(segmentor.outcomes(ListOf(given)))
        assert [type(one) for one in alone] == [type(one) for one in outcomes]
        with pytest.raises(ValueError, match=f"f1: {message}"):
            list(segmentor.stream(ListOf(given)))


class ListOf(FrameSource):
    def __init__(self, frames: list[Frame]) -> None:
        self.frames = frames

    def __iter__(self) -> Iterator[Frame | Failure]:
        yield from self.frames


def test_a_failed_batch_is_not_kept_while_its_images_are_tried_alone():
    kept = []

    class Tensor:
        """Stands for the memory of a batch."""

    class Counting(FakeSegmentor):
        def predict(self, images):
            tensor = Tensor()
            kept.append(sum(reference() is not None for reference in references))
            references.append(weakref.ref(tensor))
            if len(images) > 1:
                raise MemoryError
            return super().predict(images)

    references: list[weakref.ref] = []
    outcomes = list(analyse(Counting(), frames(3), batch_size=3))
    assert all(isinstance(one, AnomalyResult) for one in outcomes)
    assert kept == [0, 0, 0, 0]


def test_too_few_predictions_fail_their_images():
    class Short(FakeSegmentor):
        def predict(self, images):
            return super().predict(images)[:1] if len(images) > 1 else []

    outcomes = list(analyse(Short(), frames(2), batch_size=2))
    assert [type(one) for one in outcomes] == [Failure, Failure]
    assert "0 predictions of 1 images" in outcomes[0].message


def iter_into(seen: list, outcomes) -> Iterator:
    for outcome in outcomes:
        seen.append(outcome)
    yield from ()


class Endless:
    """Counts how far it was read; knows whether it was ended in its own thread."""

    def __init__(self) -> None:
        self.read, self.ended = 0, False

    def __iter__(self) -> Iterator[Frame]:
        try:
            while True:
                self.read += 1
                yield Frame(random_image(0), f"f{self.read}", self.read)
        finally:
            self.ended = True


@pytest.mark.parametrize("way", ["close", "forget", "with", "break"])
def test_prefetching_is_bounded_and_ends_with_the_consumer(way):
    source = Endless()
    outcomes = analyse(FakeSegmentor(), source, batch_size=2, prefetch=3)
    for _ in range(5):
        next(outcomes)
    time.sleep(0.2)
    # 5 taken; 3 predicted wait, and 2 in hand; 3 chunks of 2 wait, and one is being put.
    assert 5 < source.read <= 5 + 3 + 2 + 3 * 2 + 2 + 1
    if way == "close":
        outcomes.close()
    elif way == "forget":
        del outcomes
        gc.collect()
    elif way == "with":
        with outcomes:
            pass
    else:
        for _ in outcomes:
            break
        del outcomes
    wait_until_no_threads()
    assert source.ended


def test_memory_stays_bounded_on_long_input():
    """Images that wait are few at any time, however many there are."""
    alive = set()

    class Counted(np.ndarray):
        def __array_finalize__(self, _):
            pass

    def source() -> Iterator[Frame]:
        for index in range(300):
            image = np.zeros((8, 8, 3), np.uint8).view(Counted)
            alive.add(id(image))
            weakref.finalize(image, alive.discard, id(image))
            yield Frame(image, str(index), index)

    most = 0
    for _ in analyse(FakeSegmentor(), source(), prefetch=2):
        most = max(most, len(alive))
    assert most <= 12


class Camera(FrameSource):
    """Frame 0 comes at once; the others while `film(frames)` runs, and only then."""

    live = True

    def __init__(self, number: int) -> None:
        self.number, self.closed = number, False
        self._wanted, self._asked = 1, -1
        self._changed = threading.Condition()

    def __iter__(self) -> Iterator[Frame | Failure]:
        for index in range(self.number + 1):
            with self._changed:
                self._asked = index
                self._changed.notify_all()
                self._changed.wait_for(lambda index=index: index < self._wanted or self.closed)
            if index < self.number:
                yield Frame(random_image(0), f"c{index}", index, float(index))
        yield Failure("camera", "stopped", self.number)

    def film(self, frames: int) -> None:
        """Return when so many more frames have been taken, and the next is asked for."""
        with self._changed:
            self._wanted += frames
            self._changed.notify_all()
            last = min(self._wanted, self.number)
            assert self._changed.wait_for(lambda: self._asked >= last, timeout=30)

    def close(self) -> None:
        with self._changed:
            self.closed = True
            self._changed.notify_all()


def test_newest_frame_of_a_camera_wins():
    camera = Camera(60)

    class TenFramesLong(FakeSegmentor):
        def predict(self, images):
            camera.film(10)
            return super().predict(images)

    outcomes = analyse(TenFramesLong(), camera, batch_size=4)
    *results, last = outcomes
    # What is predicted next is the newest that has come, and a live source is not waited for.
    assert [result.index for result in results] == [0, 10, 20, 30, 40, 50, 59]
    assert outcomes.dropped == 60 - len(results)
    assert isinstance(last, Failure)
    assert camera.closed


def test_temporal_filter_and_tracker_see_every_result_in_order():
    calls = []

    class Stage:
        def reset(self):
            calls.append("reset")

        def __call__(self, frame, prediction=None, probability=None):
            calls.append(frame.name)
            if prediction is None:
                return replace(frame, score_name="tracked")
            return prediction._replace(anomaly=prediction.anomaly + 10)

    given = [*frames(2), Failure("x", "broken"), *frames(1)]
    outcomes = list(
        analyse(FakeSegmentor(), given, batch_size=2, temporal=Stage(), tracker=Stage())
    )
    results = [one for one in outcomes if isinstance(one, AnomalyResult)]
    assert {result.score_name for result in results} == {"tracked"}
    assert min(result.anomaly.min() for result in results) >= 10
    # The stamps of the last frame start anew: another video.
    assert calls == ["f0", "f0", "f1", "f1", "reset", "reset", "f0", "f0"]


def test_source_model_and_consumer_work_at_the_same_time():
    """Each waits for both others to be at work too, which they never are one after another."""
    together = threading.Barrier(3, timeout=30)

    def source() -> Iterator[Frame]:
        for index, frame in enumerate(frames(5)):
            if index >= 2:
                together.wait()
            yield frame

    class Meeting(FakeSegmentor):
        def predict(self, images):
            if 1 <= len(self.batches) < 4:
                together.wait()
            return super().predict(images)

    for index, outcome in enumerate(analyse(Meeting(), source())):
        assert isinstance(outcome, AnomalyResult)
        if index < 3:
            together.wait()


@pytest.mark.parametrize("name", ["batch_size", "prefetch"])
def test_sizes_are_checked(name):
    with pytest.raises(ValueError, match=f"{name}: expected at least 1, got 0"):
        analyse(FakeSegmentor(), [], **{name: 0})
