"""A small model for the tests of the service, and a server that runs it."""

from __future__ import annotations

import contextlib
import threading
import time

import cv2
import numpy as np
from fastapi.testclient import TestClient

from ood_seg.perception.core.types import Palette, Prediction
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.serving.limits import ServiceLimits
from ood_seg.serving.server import make_server

THRESHOLDS = {"fpr 5%": 100.5, "tpr 95%": 50.5}


class Brightness(Segmentor):
    """The score of a pixel is its red value, the label whether it is bluish."""

    def __init__(self, *, thresholds=THRESHOLDS, seconds=0.0, **options):
        palette = Palette(("grey", "blue"), ((90, 90, 90), (0, 0, 255)))
        super().__init__(palette, "Brightness", thresholds, **options)
        self.seconds = seconds
        self.batches = []

    def predict(self, images):
        self.batches.append(len(images))
        time.sleep(self.seconds)
        if any(one.shape[:2] == (13, 13) for one in images):
            raise ValueError("13x13 images are beyond this model")
        return [
            Prediction((one[..., 0] > one[..., 1]).astype(np.uint8), one[..., 2].astype(np.float32))
            for one in images
        ]


class Calibrated(Brightness):
    """With a logistic curve."""

    SLOPE, OFFSET = 0.05, -5.0

    def curve(self, scores):
        return 1 / (1 + np.exp(-(self.SLOPE * np.asarray(scores, float) + self.OFFSET)))

    def probability(self, scores):
        return self.curve(scores).astype(np.float32)

    def calibration_facts(self):
        parameters = {"slope": self.SLOPE, "offset": self.OFFSET}
        facts = {"method": "platt", "data_set": "drawn", "assumed_prior": 0.01}
        return {**facts, "parameters": parameters}

    def predict(self, images):
        return [
            one._replace(probability=self.probability(one.anomaly))
            for one in super().predict(images)
        ]


def scene(objects, size=(60, 90)) -> np.ndarray:
    """A dark image with red rectangles `(left, top, width, height, red)`."""
    image = np.full((*size, 3), 20, np.uint8)
    image[: size[0] // 2, :, 0] = 60
    for left, top, width, height, red in objects:
        image[top : top + height, left : left + width] = (0, 0, red)
    return image


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def client_of(app, **options) -> TestClient:
    """A client of the app in this process, which addresses it as a browser on this machine does."""
    return TestClient(app, base_url="http://localhost", **options)


@contextlib.contextmanager
def running(app, limits=None):
    """The address of a server that runs the app in a thread."""
    server = make_server(app, limits or ServiceLimits(), port=0)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        deadline = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
