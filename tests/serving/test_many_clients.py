"""64 clients at once, half of them hostile, and the end of the service among them."""

from __future__ import annotations

import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

from service import png, scene  # noqa: E402

pytestmark = pytest.mark.slow
BODY = png(scene([(10, 20, 12, 8, 120)]))
SERVICE = """
import sys
sys.path.insert(0, sys.argv[1])
from service import Brightness
from ood_seg.serving.app import ServiceLimits
from ood_seg.serving.server import serve

limits = ServiceLimits(max_bytes=100_000, max_pixels=20_000, max_queue=8, patience=3.0, timeout=20)
serve(Brightness(seconds=0.005), limits=limits, port=0)
"""


def head(length: int, kind: str = "image/png") -> bytes:
    return (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def status_of(connection: socket.socket) -> int:
    """Status of the answer; 0 where the server closed the connection without one."""
    try:
        found = re.match(rb"HTTP/1.1 (\d+) ", connection.recv(100))
    except ConnectionError:
        return 0
    return int(found[1]) if found else 0


def honest(address: tuple[str, int], rng: random.Random) -> int:
    while True:
        answer = httpx.post("http://{}:{}/predict".format(*address), content=BODY, timeout=60)
        if answer.status_code == 200:
            assert answer.json()["instances"][0]["box"] == [10, 20, 12, 8]
        if answer.status_code != 429:
            return answer.status_code
        time.sleep(0.02)


def talking(sent: bytes, *, reads: bool = True):
    """A client that sends these bytes at once, and goes away if it does not read."""

    def client(address: tuple[str, int], rng: random.Random) -> int:
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(sent)
            return status_of(connection) if reads else -1

    return client


def trickling(address: tuple[str, int], rng: random.Random) -> int:
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(head(len(BODY)))
        stop = threading.Event()

        def trickle() -> None:
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        status = status_of(connection)
        stop.set()
        thread.join()
        return status


# Client -> the answers that it may get; -1: it does not wait for one. Where a request is
# understood, 429 is another, as the queue of the test is short.
HOSTILE = {
    trickling: {408},
    talking(b"POST /pre"): {0},
    talking(head(len(BODY)) + BODY[:50]): {408},
    talking(head(len(BODY)) + BODY[:50], reads=False): {-1},
    talking(head(len(BODY)) + BODY, reads=False): {-1},
    talking(head(10**9)): {413},
    talking(head(len(BODY), "text/plain") + BODY): {415},
    talking(head(len(BODY)) + bytes(len(BODY))): {422},
    talking(head(len(BODY)).replace(b"localhost", b"attacker.example") + BODY): {400},
    talking(b"\x16\x03\x01 no HTTP\r\n\r\n"): {400},
}


@pytest.fixture
def service(tmp_path):
    """A service in a process of its own: the process, its address and its log."""
    log = tmp_path / "log"
    command = [sys.executable, "-c", SERVICE, str(Path(__file__).parent)]
    with log.open("wb") as stream, subprocess.Popen(command, stderr=stream) as process:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"running on http://([\d.]+):(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield process, (found[1], int(found[2])), log
        process.kill()


def test_64_clients_half_of_them_hostile(service):
    process, address, log = service
    hostile = list(HOSTILE)

    def client(number: int) -> Counter:
        rng, found = random.Random(number), Counter()
        for turn in range(4):
            if number % 2:
                kind = hostile[(number // 2 + turn) % len(hostile)]
                status = kind(address, rng)
                assert status in HOSTILE[kind] | {429}, (hostile.index(kind), status)
            else:
                status = honest(address, rng)
                assert status == 200
            found[status] += 1
        return found

    with ThreadPoolExecutor(64) as pool:
        total = sum(pool.map(client, range(64)), Counter())
    assert total[200] == 32 * 4
    assert httpx.get("http://{}:{}/health".format(*address)).status_code == 200
    text = httpx.get("http://{}:{}/metrics".format(*address)).text
    assert 'status="500"' not in text
    assert "ood_seg_queue_images 0.0" in text
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) in (0, -signal.SIGTERM)
    assert "Traceback" not in log.read_text()


def test_sigterm_among_64_clients(service):
    process, address, log = service
    hostile, answered, ended = list(HOSTILE), threading.Semaphore(0), threading.Event()

    def client(number: int) -> Counter:
        rng, found = random.Random(number), Counter()
        while not ended.is_set():
            try:
                if number % 2:
                    status = hostile[rng.randrange(len(hostile))](address, rng)
                else:
                    status = honest(address, rng)
                    answered.release()
            except (OSError, httpx.TransportError):  # the service does not listen any more
                if process.poll() is not None:
                    break
                continue
            found[status] += 1
        return found

    with ThreadPoolExecutor(64) as pool:
        running = [pool.submit(client, number) for number in range(64)]
        for _ in range(64):
            assert answered.acquire(timeout=120)
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(60)
        finally:
            ended.set()
        total = sum((one.result(60) for one in running), Counter())
    assert code in (0, -signal.SIGTERM)
    assert total[200] >= 64
    assert not set(total) - {-1, 0, 200, 400, 408, 413, 415, 422, 429, 504}
    text = log.read_text()
    assert "Finished server process" in text
    assert "Traceback" not in text
