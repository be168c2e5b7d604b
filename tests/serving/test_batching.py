"""The queue before the model: order, batches, bounds, errors, shutdown."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import numpy as np
import pytest

from ood_seg.perception.core.types import Prediction
from ood_seg.serving.batching import BatchWorker, Busy, ModelStopped


def grey(value: int, size=(4, 6)) -> np.ndarray:
    return np.full((*size, 3), value, np.uint8)


class Model:
    """Scores are the mean brightness; remembers its batches and can be held up."""

    def __init__(self, *, open_at_once=True):
        self.batches, self.gate, self.started = [], threading.Event(), threading.Event()
        if open_at_once:
            self.gate.set()

    def __call__(self, images):
        self.started.set()
        assert self.gate.wait(20)
        self.batches.append([(one.shape[:2], int(one.mean())) for one in images])
        if any(one.mean() == 13 for one in images):
            raise ValueError("thirteen")
        return [
            Prediction(np.zeros(one.shape[:2], np.uint8), one.mean(axis=2, dtype=np.float32))
            for one in images
        ]


def held_worker(**options):
    """A worker whose model is busy with a first image."""
    model = Model(open_at_once=False)
    worker = BatchWorker(model, **options)
    first = worker.submit(grey(0))
    assert model.started.wait(20)
    return model, worker, first


def test_every_image_gets_its_own_answer():
    worker = BatchWorker(Model(), max_batch=4, max_queue=100)
    futures = [worker.submit(grey(value)) for value in range(14, 64)]
    assert [future.result(20).anomaly[0, 0] for future in futures] == list(range(14, 64))
    worker.close()


def test_waiting_images_of_one_size_run_together_up_to_the_limit():
    model, worker, first = held_worker(max_batch=3, max_wait=0.0, max_queue=10)
    sizes = [(4, 6)] * 4 + [(5, 5)] * 2 + [(4, 6)]
    futures = [worker.submit(grey(20 + i, size)) for i, size in enumerate(sizes)]
    model.gate.set()
    wait([first, *futures], 20)
    assert [len(batch) for batch in model.batches] == [1, 3, 1, 2, 1]
    assert [shape for batch in model.batches for shape, _ in batch] == [(4, 6), *sizes]
    assert [future.result().anomaly.shape for future in futures] == sizes
    worker.close()


def test_the_first_image_waits_for_a_full_batch():
    model = Model()
    worker = BatchWorker(model, max_batch=2, max_wait=30.0)
    futures = [worker.submit(grey(1)), worker.submit(grey(2))]
    wait(futures, 20)  # far below 30 s: the batch was full
    assert [len(batch) for batch in model.batches] == [2]
    worker.close()


def test_a_full_queue_refuses_images_and_keeps_the_accepted_ones():
    model, worker, first = held_worker(max_batch=1, max_queue=2)
    accepted = [worker.submit(grey(1)), worker.submit(grey(2))]
    assert worker.waiting == 2
    with pytest.raises(Busy, match="2 images are waiting"):
        worker.submit(grey(3))
    model.gate.set()
    assert [future.result(20).anomaly[0, 0] for future in (first, *accepted)] == [0, 1, 2]
    assert worker.submit(grey(3)).result(20).anomaly[0, 0] == 3
    worker.close()


def test_an_image_that_fails_does_not_affect_its_batch():
    model, worker, first = held_worker(max_batch=3, max_wait=0.0)
    futures = [worker.submit(grey(value)) for value in (12, 13, 14)]
    model.gate.set()
    wait([first, *futures], 20)
    assert futures[0].result().anomaly[0, 0] == 12
    assert futures[2].result().anomaly[0, 0] == 14
    with pytest.raises(ValueError, match="thirteen"):
        futures[1].result()
    assert worker.alive
    worker.close()


def test_close_finishes_the_queue_and_refuses_new_images():
    model, worker, first = held_worker(max_batch=2, max_wait=0.0)
    futures = [worker.submit(grey(1)), worker.submit(grey(2, (5, 5)))]
    closing = threading.Thread(target=worker.close)
    closing.start()
    model.gate.set()
    closing.join(20)
    assert all(future.done() for future in (first, *futures))
    assert not worker.alive
    with pytest.raises(Busy, match="shutting down"):
        worker.submit(grey(3))
    worker.close()  # a second time is harmless


def test_a_cancelled_request_is_left_out():
    model, worker, first = held_worker(max_batch=4, max_wait=0.0)
    futures = [worker.submit(grey(value)) for value in (1, 2)]
    assert futures[0].cancel()
    model.gate.set()
    wait([first, futures[1]], 20)
    assert [value for batch in model.batches for _, value in batch] == [0, 2]
    worker.close()


def test_a_batch_has_no_more_pixels_than_allowed():
    model, worker, first = held_worker(max_batch=8, max_wait=0.0, max_pixels=3 * 4 * 6)
    sizes = [(4, 6)] * 4 + [(40, 60)] * 2  # the last ones run alone
    futures = [worker.submit(grey(20 + i, size)) for i, size in enumerate(sizes)]
    model.gate.set()
    wait([first, *futures], 20)
    assert [len(batch) for batch in model.batches] == [1, 3, 1, 1, 1]
    worker.close()


@pytest.mark.parametrize("returned", [lambda found: found[:-1], lambda found: None])
def test_a_model_that_returns_another_number_of_predictions_fails_and_goes_on(returned):
    model = Model()
    worker = BatchWorker(lambda images: returned(model(images)))
    for value in (1, 2):
        with pytest.raises((ValueError, TypeError), match=r"0 predictions for 1|NoneType"):
            worker.submit(grey(value)).result(20)
    assert worker.alive
    worker.close()


def test_a_thread_that_ends_answers_all_that_wait_and_refuses_the_rest():
    started, gate, told = threading.Event(), threading.Event(), []

    def predict(images):
        started.set()
        assert gate.wait(20)
        raise SystemExit("broken")  # no Exception

    worker = BatchWorker(predict, max_batch=2, max_wait=0.0, max_queue=3)
    worker.on_error = lambda: told.append(worker.error)
    futures = [worker.submit(grey(0))]
    assert started.wait(20)
    futures += [worker.submit(grey(value, size)) for value, size in ((1, (4, 6)), (2, (5, 5)))]
    futures.append(worker.submit(grey(3)))
    assert futures[3].cancel()
    gate.set()
    for future in futures[:3]:
        assert isinstance(future.exception(20), ModelStopped)
    worker.close()  # with a full queue it must not block
    assert not worker.alive
    assert [str(error) for error in told] == ["broken"]
    with pytest.raises(ModelStopped, match="broken"):
        worker.submit(grey(4))


def test_close_leaves_a_model_that_hangs():
    model, worker, first = held_worker(max_queue=1)
    worker.submit(grey(1))  # the queue is full
    worker.close(timeout=0.01)
    assert not first.done()
    model.gate.set()
    worker.close()
    assert first.done()


def test_nothing_of_a_batch_stays_in_memory():
    import weakref

    worker = BatchWorker(Model())
    image = grey(20)
    reference = weakref.ref(image)
    worker.submit(image).result(20)
    worker.submit(grey(21)).result(20)  # the first one has been left behind by then
    del image
    assert reference() is None
    worker.close()


def test_batches_are_observed():
    seen = []
    model = Model()
    worker = BatchWorker(model, observe=lambda count, seconds: seen.append((count, seconds)))
    worker.submit(grey(1)).result(20)
    worker.close()
    assert [count for count, _ in seen] == [1]
    assert seen[0][1] >= 0


@pytest.mark.parametrize("bad", [{"max_batch": 0}, {"max_queue": 0}, {"max_wait": -1.0}])
def test_limits_are_checked(bad):
    with pytest.raises(ValueError, match="at least"):
        BatchWorker(Model(), **bad)
