"""`ood-seg serve`: what it refuses before anything is loaded, and a run until Ctrl-C."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_segmentor import FakeSegmentor

from ood_seg.apis import segmentors
from ood_seg.commands import main

TOOL = Path(__file__).parents[2] / "tools" / "serve.py"

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-batch", "0"], "--max-batch must be above 0 and finite, got 0"),
        (["--max-megapixels", "-1"], "--max-megapixels must be above 0 and finite, got -1.0"),
        (["--timeout", "inf"], "--timeout must be above 0 and finite, got inf"),
        (["--port", "70000"], "--port must be from 0 to 65535, got 70000"),
        (["--checkpoint", "a.pth"], "--checkpoint"),
    ],
)
def test_refusals(options, message, capsys):
    assert main(["serve", "model.onnx", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--allow-host", "*example.org"], "got '*example.org'"),
        (["--allow-host", "http://example.org"], "got 'http://example.org'"),
        (["--token", " "], "--token"),
    ],
)
def test_who_may_use_it_is_checked_before_the_model_runs(options, message, monkeypatch, capsys):
    monkeypatch.setattr(segmentors, "load_segmentor", lambda *_, **__: FakeSegmentor())
    monkeypatch.setattr("uvicorn.Server.run", lambda _self: pytest.fail("was served"))
    assert main(["serve", "model.onnx", *options]) == 2
    assert message in capsys.readouterr().err


def test_the_token_may_come_from_the_environment(monkeypatch):
    given = {}
    monkeypatch.setenv("OOD_SEG_TOKEN", "secret")
    monkeypatch.setattr(segmentors, "load_segmentor", lambda *_, **__: FakeSegmentor())
    monkeypatch.setattr("ood_seg.serving.server.serve", lambda _, **options: given.update(options))
    assert main(["serve", "model.onnx", "--allow-host", "a", "--allow-host", "*.b"]) == 0
    assert (given["token"], given["allow_hosts"]) == ("secret", ["a", "*.b"])


def test_a_model_that_ends_ends_the_command_with_an_error(monkeypatch, capsys):
    """SystemExit is no Exception: it ends the thread of the model, as a fault in it would."""

    class Ending(FakeSegmentor):
        runs = 0

        def predict(self, images):
            self.runs += 1
            if self.runs > 1:
                raise SystemExit("out of order")
            return super().predict(images)

    def run(server):
        worker = server.config.app.state.service.worker
        future = worker.submit(np.zeros((4, 5, 3), np.uint8))
        assert "out of order" in str(future.exception(30))
        worker.close(30)
        assert server.should_exit

    monkeypatch.setattr(segmentors, "load_segmentor", lambda *_, **__: Ending())
    monkeypatch.setattr("uvicorn.Server.run", run)
    assert main(["serve", "model.onnx"]) == 1
    (line,) = capsys.readouterr().err.splitlines()[-1:]
    assert "SystemExit('out of order')" in line
    assert "Traceback" not in line


def test_serves_until_interrupted(job):
    command = [sys.executable, str(TOOL), str(job.config), "--port", "0"]
    command += ["--checkpoint", str(job.weights), "--operating-point", "-1.5", "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            address = wait_for_address(server)
            assert httpx.get(f"{address}/model").json()["threshold"] == -1.5
            path = job.folder / "images" / "0.png"
            answer = httpx.post(f"{address}/predict", content=path.read_bytes(), timeout=60)
            assert answer.status_code == 200
            assert answer.json()["size"] == list(cv2.imread(str(path)).shape[:2])
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(60)


def wait_for_address(server) -> str:
    deadline = time.monotonic() + 120
    for line in server.stderr:
        found = re.search(r"running on (http://[\d.]+:\d+)", line)
        if found:
            return found[1]
        assert time.monotonic() < deadline
    raise AssertionError("the server ended before it served")


def test_a_model_that_gives_nan_is_not_served(monkeypatch, capsys):
    class Overflowing(FakeSegmentor):
        def predict(self, images):
            return [one._replace(anomaly=one.anomaly * np.nan) for one in super().predict(images)]

    monkeypatch.setattr(segmentors, "load_segmentor", lambda *_, **__: Overflowing())
    monkeypatch.setattr("uvicorn.Server.run", lambda _self: pytest.fail("was served"))
    assert main(["serve", "model.onnx"]) == 2
    assert "8192 anomaly scores are NaN" in capsys.readouterr().err
