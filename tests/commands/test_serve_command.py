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
        (["--max-batch", "0"], "--max-batch must be above 0, got 0"),
        (["--max-megapixels", "-1"], "--max-megapixels must be above 0, got -1.0"),
        (["--port", "70000"], "--port must be from 0 to 65535, got 70000"),
        (["--checkpoint", "a.pth"], "--checkpoint"),
    ],
)
def test_refusals(options, message, capsys):
    assert main(["serve", "model.onnx", *options]) == 2
    assert message in capsys.readouterr().err


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
    monkeypatch.setattr("uvicorn.run", lambda *args, **options: None)
    assert main(["serve", "model.onnx"]) == 2
    assert "8192 anomaly scores are NaN" in capsys.readouterr().err
