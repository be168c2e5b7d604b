"""The newest frame is handled; errors cost one frame; a camera that stops is reported."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from ood_seg.ros.fields import Header, Runtime, build
from ood_seg.ros.health import Health, Level, diagnostics
from ood_seg.ros.scheduling import Worker


def _until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_busy_worker_drops_older_items():
    begun, go_on, handled = threading.Event(), threading.Event(), []

    def handle(item):
        begun.set()
        assert go_on.wait(30)
        handled.append(item)

    worker = Worker(handle, Health())
    worker.submit("a")
    assert begun.wait(30)
    for item in "bcd":
        worker.submit(item)
    go_on.set()
    _until(lambda: worker.health.frames == 2)
    assert handled == ["a", "d"]
    assert worker.health.dropped == 2
    assert worker.stop(30)


def test_every_item_is_handled_or_counted_as_dropped():
    handled = []
    worker = Worker(handled.append, Health())

    def submit(first):
        for item in range(first, first + 500):
            worker.submit(item)

    threads = [threading.Thread(target=submit, args=(1000 * k,)) for k in range(1, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    _until(lambda: worker.health.frames + worker.health.dropped == 1500)
    assert len(set(handled)) == len(handled) == worker.health.frames
    assert worker.stop(30)
    worker.submit(1)  # after the end it is dropped
    assert worker.health.frames + worker.health.dropped == 1501


def test_an_error_does_not_stop_the_worker():
    handled = []

    def handle(item):
        if item == "bad":
            raise RuntimeError("the lens is covered")
        handled.append(item)

    worker = Worker(handle, Health())
    for item in ("a", "bad", "b"):
        before = worker.health.frames + worker.health.failures
        worker.submit(item)
        _until(lambda before=before: worker.health.frames + worker.health.failures > before)
        if item == "bad":
            level, summary, _ = worker.health.report(time.monotonic())
            assert (level, summary) == (Level.ERROR, "the lens is covered")
    assert handled == ["a", "b"]
    level, _, values = worker.health.report(time.monotonic())
    assert level == Level.OK
    assert values["failures"] == "1"
    assert values["last_error"] == "the lens is covered"
    assert worker.stop(30)


def test_latency_is_counted_from_the_arrival():
    times = iter([10.0, 10.25])
    worker = Worker(lambda item: None, Health(), clock=lambda: next(times))
    worker.submit("a")
    _until(lambda: worker.health.frames == 1)
    values = worker.health.report(10.3)[2]
    assert values["latency_mean_ms"] == values["latency_max_ms"] == "250.0"
    worker.stop(30)


def test_stale_before_the_first_image_and_when_the_camera_stops():
    health = Health(max_age=0.5)
    assert health.report(0.0)[:2] == (Level.STALE, "no image has arrived yet")
    health.arrived(1.0)
    health.handled(0.1)
    assert health.report(1.5)[0] == Level.OK
    level, summary, _ = health.report(1.6)
    assert level == Level.STALE
    assert "no image for 0.6 s" in summary
    health.arrived(5.0)
    assert health.report(5.1)[0] == Level.OK


def test_levels_of_drops_and_failures():
    health = Health()
    health.arrived(0.0, dropped=True)
    health.handled(0.1)
    assert health.report(0.1)[0] == Level.WARN
    assert health.report(0.2)[0] == Level.OK  # nothing new since the last report
    health.failed("broken")
    assert health.report(0.3)[0] == Level.ERROR
    assert health.report(0.4)[0] == Level.ERROR  # still no good image
    health.failed("broken again")
    health.handled(0.3)
    level, summary, values = health.report(0.5)
    assert level == Level.WARN
    assert "1 image(s) failed: broken again" in summary
    assert values == {
        "frames": "2",
        "dropped": "1",
        "failures": "2",
        "last_error": "broken again",
        "latency_mean_ms": "300.0",
        "latency_max_ms": "300.0",
    }
    assert health.report(0.6)[0] == Level.OK


def test_latencies_are_of_the_period():
    health = Health()
    health.arrived(0.0)
    for latency in (0.1, 0.2, 0.6):
        health.handled(latency)
    assert health.report(0.1)[2]["latency_mean_ms"] == "300.0"
    assert "latency_mean_ms" not in health.report(0.2)[2]


@pytest.mark.parametrize("level", list(Level))
def test_diagnostics_message(level):
    runtime = Runtime(lambda name: SimpleNamespace, byte=lambda value: bytes([value]))
    array = diagnostics(level, "fine", {"a": "1"}, Header(3, 4), hardware_id="model.onnx")
    message = build(runtime, array)
    (status,) = message.status
    assert status.level == bytes([int(level)])
    assert (status.message, status.hardware_id) == ("fine", "model.onnx")
    assert status.values == [SimpleNamespace(key="a", value="1")]
    assert message.header.stamp == SimpleNamespace(sec=3, nanosec=4)
