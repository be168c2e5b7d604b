"""Clients that vanish, trickle, send too much or do not read, and what others get meanwhile."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")

from service import Brightness, client_of, png, running, scene  # noqa: E402

from ood_seg.serving.app import ServiceLimits, create_app  # noqa: E402
from ood_seg.serving.connections import TimedProtocol  # noqa: E402

BODY = png(scene([(10, 20, 12, 8, 120)]))


class Held(Brightness):
    """A model that waits until it is let go."""

    def __init__(self):
        super().__init__()
        self.started, self.gate = threading.Event(), threading.Event()

    def predict(self, images):
        self.started.set()
        assert self.gate.wait(60)
        return super().predict(images)


@contextmanager
def logged():
    """The lines that a running server logs; to start one removes other handlers."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(handler.format(record))
    logger = logging.getLogger("uvicorn.error")
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


def connected(address: str, sent: bytes = b"") -> socket.socket:
    host, port = address.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=60)
    connection.sendall(sent)
    return connection


def request_head(length: int, *lines: str) -> bytes:
    head = ["POST /predict HTTP/1.1", "Host: localhost", f"Content-Length: {length}", *lines]
    return "\r\n".join([*head, "", ""]).encode()


def is_reached(address: str) -> bool:
    try:
        connected(address).close()
    except ConnectionError:
        return False
    return True


def counted(address: str, status: int) -> int:
    """How many requests were answered so, once there is one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for line in httpx.get(f"{address}/metrics", timeout=60).text.splitlines():
            if line.startswith(f'ood_seg_requests_total{{status="{status}"}}'):
                return int(float(line.split()[-1]))
    raise AssertionError(f"no request was counted with {status}")


@pytest.mark.parametrize("sent", [request_head(len(BODY)) + BODY[:50], request_head(10**6) + BODY])
def test_a_client_that_vanishes_while_it_sends_is_one_line_of_the_log(sent):
    limits = ServiceLimits(patience=60)
    with running(create_app(Brightness(), limits=limits), limits) as address, logged() as log:
        connected(address, sent).close()
        assert counted(address, 499) == 1
        assert httpx.post(f"{address}/predict", content=BODY, timeout=60).status_code == 200
        assert 'status="500"' not in httpx.get(f"{address}/metrics").text
    assert len([line for line in log if "went away" in line]) == 1
    assert not [line for line in log if "Traceback" in line or "Exception" in line]


def test_a_client_that_vanishes_while_the_model_runs_frees_its_place():
    model, limits = Held(), ServiceLimits(max_queue=1, max_batch=1)
    with running(create_app(model, limits=limits), limits) as address, logged() as log:
        with connected(address, request_head(len(BODY)) + BODY):
            assert model.started.wait(60)
        assert counted(address, 499) == 1
        waiting = connected(address, request_head(len(BODY)) + BODY)
        other = connected(address, request_head(len(BODY)) + BODY)
        model.gate.set()
        for connection in (waiting, other):
            with connection:
                assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
    assert not [line for line in log if "Traceback" in line]


def test_bodies_that_do_not_arrive_keep_nobody_out():
    """Six of them stopped the service when they took the places of the queue."""
    limits = ServiceLimits(max_queue=1, max_batch=1, patience=60)
    with ExitStack() as stack, running(create_app(Brightness(), limits=limits), limits) as address:
        for _ in range(6):
            stack.enter_context(connected(address, request_head(len(BODY)) + BODY[:50]))
        assert httpx.post(f"{address}/predict", content=BODY, timeout=60).status_code == 200
        stack.close()


def test_a_body_that_trickles_is_abandoned():
    limits = ServiceLimits(patience=0.2, min_rate=1e9)
    with running(create_app(Brightness(), limits=limits), limits) as address:
        with connected(address, request_head(10**6)) as connection:
            answered = threading.Event()

            def trickle() -> None:
                while not answered.wait(0.01):  # never a pause of 0.2 s
                    connection.sendall(b"x")

            thread = threading.Thread(target=trickle)
            thread.start()
            answer = connection.recv(1000)
            answered.set()
            thread.join(60)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert counted(address, 408) == 1


def test_the_number_and_the_bytes_of_arriving_bodies_are_limited():
    limits = ServiceLimits(max_bytes=1000, max_uploads=7, patience=60)
    with running(create_app(Brightness(), limits=limits), limits) as address:
        with ExitStack() as stack:
            for _ in range(4):
                stack.enter_context(connected(address, request_head(1000) + bytes(900)))
            fifth = stack.enter_context(connected(address, request_head(1000) + bytes(900)))
            sixth = stack.enter_context(connected(address, request_head(1000) + bytes(900)))
            # 4000 bytes are held at most: two of the six find no room.
            assert counted(address, 429) in (1, 2)
            fifth.close()
            sixth.close()
        body = png(scene([], (5, 5)))
        for _ in range(10):  # everything has been given back
            answer = httpx.post(f"{address}/predict", content=body, timeout=60)
            if answer.status_code == 200:
                break
        assert answer.status_code == 200
    limits = ServiceLimits(max_uploads=1, patience=60)
    with running(create_app(Brightness(), limits=limits), limits) as address:
        head = request_head(len(BODY), "Expect: 100-continue")
        with connected(address, head) as first:
            assert first.recv(100).startswith(b"HTTP/1.1 100 ")  # it is being read
            answer = httpx.post(f"{address}/predict", content=BODY, timeout=60)
            assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


@pytest.mark.parametrize(("length", "status"), [(1000, b"HTTP/1.1 100 "), (1001, b"HTTP/1.1 413 ")])
def test_who_asks_first_need_not_send_what_is_too_large(length, status):
    limits = ServiceLimits(max_bytes=1000, patience=60)
    with running(create_app(Brightness(), limits=limits), limits) as address:
        head = request_head(length, "Expect: 100-continue")
        with connected(address, head) as connection:
            assert connection.recv(13) == status


@pytest.mark.parametrize(
    ("sent", "later"),
    [
        (b"", b""),
        (b"POST /predict HTTP/1.1\r\nHost: local", b""),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET /he"),
        (request_head(10**6), b"the rest of a body that was refused"),
    ],
)
def test_a_header_that_does_not_arrive_ends_the_connection(sent, later):
    limits = ServiceLimits(patience=0.1, max_bytes=1000)
    with running(create_app(Brightness(), limits=limits), limits) as address:
        with connected(address, sent) as connection:
            received = connection.recv(15) if later else b""
            connection.sendall(later)
            try:
                while part := connection.recv(1000):
                    received += part
            except ConnectionResetError:
                pass
        assert bool(received) == bool(later)


@pytest.mark.parametrize(
    ("min_rate", "is_read", "aborted"),
    [(1e9, False, True), (1e9, True, False), (1, False, False)],
)
def test_an_answer_that_is_not_read_ends_the_connection(min_rate, is_read, aborted):
    calls = []

    class Transport(asyncio.Transport):
        def get_write_buffer_size(self):
            return 10**6  # more than a week at the lower rate

        def close(self):
            calls.append("close")

        def abort(self):
            calls.append("abort")

    async def answer() -> None:
        limits = ServiceLimits(patience=0.001, min_rate=min_rate)
        config = uvicorn.Config(lambda: None)
        protocol = TimedProtocol(
            limits, config=config, server_state=uvicorn.server.ServerState(), app_state={}
        )
        protocol.connection_made(Transport())
        timer = protocol._header_timer
        assert timer is not None
        timer.cancel()  # not what is tried here
        protocol.pause_writing()
        if is_read:
            protocol.resume_writing()
        while aborted and not calls:
            await asyncio.sleep(0)
        protocol.connection_lost(None)
        assert protocol._answer_timer is None

    asyncio.run(asyncio.wait_for(answer(), 60))
    assert calls == (["abort", "close"] if aborted else ["close"])


def test_requests_to_a_model_that_has_ended_are_answered_at_once():
    class Ending(Brightness):
        def predict(self, images):
            raise SystemExit("out of order")

    with client_of(create_app(Ending())) as client:
        for _ in range(3):
            answer = client.post("/predict", content=BODY)
            assert answer.status_code == 503
            assert "out of order" in answer.json()["detail"]
        assert client.get("/health").status_code == 503
        assert 'status="503"} 3' in client.get("/metrics").text


def test_a_server_whose_model_ends_stops_serving():
    class Ending(Brightness):
        def predict(self, images):
            raise SystemExit("out of order")

    with running(create_app(Ending())) as address:
        assert httpx.post(f"{address}/predict", content=BODY, timeout=60).status_code == 503
        deadline = time.monotonic() + 60
        while is_reached(address):
            assert time.monotonic() < deadline


def test_a_model_with_too_few_predictions_is_an_error_of_each_request():
    class Forgetful(Brightness):
        def predict(self, images):
            return super().predict(images)[1:]

    with client_of(create_app(Forgetful())) as client:
        for _ in range(2):
            answer = client.post("/predict", content=BODY)
            assert answer.status_code == 500
            assert "0 predictions for 1 images" in answer.json()["detail"]
        assert client.get("/health").status_code == 200
