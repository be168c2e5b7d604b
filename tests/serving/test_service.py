"""The HTTP service: answers, refusals, and many clients at once."""

from __future__ import annotations

import io
import json
import socket
import struct
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

from service import THRESHOLDS, Brightness, Calibrated, client_of, png, running, scene  # noqa: E402

from ood_seg.serving.app import ServiceLimits, create_app  # noqa: E402

OBJECTS = [(10, 20, 12, 8, 120), (40, 30, 9, 9, 80), (70, 5, 3, 3, 200)]


@pytest.fixture
def client():
    with client_of(create_app(Brightness(), name="tiny")) as client:
        yield client


def test_json_holds_the_objects_at_the_default_operating_point(client):
    answer = client.post("/predict", content=png(scene(OBJECTS)))
    assert answer.status_code == 200
    result = answer.json()
    assert result["schema"] == "ood_seg.result/1"
    assert (result["size"], result["score"]) == ([60, 90], "Brightness")
    assert (result["operating_point"], result["threshold"]) == ("fpr 5%", 100.5)
    assert [one["box"] for one in result["instances"]] == [[10, 20, 12, 8]]  # 3x3 is too small
    assert result["instances"][0]["mean_score"] == 120
    assert result["flagged_share"] == pytest.approx((96 + 9) / 5400)
    assert result["latency"]["model"] > 0


def test_threshold_and_smallest_object_of_a_request(client):
    options = {"threshold": 50, "min_area": 9}
    result = client.post("/predict", content=png(scene(OBJECTS)), params=options).json()
    boxes = sorted(one["box"] for one in result["instances"])
    assert boxes == [[10, 20, 12, 8], [40, 30, 9, 9], [70, 5, 3, 3]]
    assert (result["operating_point"], result["threshold"]) == (None, 50)
    # and the next one has the service's own again
    result = client.post("/predict", content=png(scene(OBJECTS))).json()
    assert result["threshold"] == 100.5


def test_a_form_gives_the_same_as_the_bare_body(client):
    body = png(scene(OBJECTS))
    bare = client.post("/predict", content=body).json()
    form = client.post("/predict", files={"image": ("a.png", body, "image/png")}).json()
    assert form["instances"] == bare["instances"]
    wrong = client.post("/predict", files={"picture": ("a.png", body, "image/png")})
    assert wrong.status_code == 422
    assert "form field 'image', got picture" in wrong.json()["detail"]


def test_images_and_scores(client):
    image = scene(OBJECTS)

    def get(kind, **options):
        return client.post("/predict", content=png(image), params={"format": kind, **options})

    np.testing.assert_array_equal(np.load(io.BytesIO(get("scores").content)), image[..., 2])
    labels = cv2.imdecode(np.frombuffer(get("labels").content, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels, image[..., 0] > image[..., 1])
    mask = cv2.imdecode(np.frombuffer(get("mask").content, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, np.where(image[..., 2] >= 100.5, 255, 0))
    overlay = get("overlay")
    assert overlay.headers["content-type"] == "image/png"
    assert cv2.imdecode(np.frombuffer(overlay.content, np.uint8), 1).shape == image.shape
    heat = cv2.imdecode(np.frombuffer(get("overlay", style="heat").content, np.uint8), 1)
    assert (heat != cv2.imdecode(np.frombuffer(overlay.content, np.uint8), 1)).any()
    assert get("overlay", style="hot").status_code == 422
    assert get("pdf").status_code == 422


def test_maps_hold_all_that_a_client_needs_to_decide_by_itself(client):
    image = scene(OBJECTS)
    answer = client.post("/predict", content=png(image), params={"format": "maps"})
    assert answer.headers["content-type"] == "application/zip"
    maps = np.load(io.BytesIO(answer.content))
    assert set(maps.files) == {"scores", "labels", "mask", "result.json"}
    np.testing.assert_array_equal(maps["scores"], image[..., 2])
    np.testing.assert_array_equal(maps["labels"], image[..., 0] > image[..., 1])
    np.testing.assert_array_equal(maps["mask"], image[..., 2] >= 100.5)
    result = json.loads(maps["result.json"])
    plain = client.post("/predict", content=png(image)).json()
    for one in (result, plain):
        assert one.pop("latency")["model"] > 0
    assert result == plain


def test_maps_hold_a_region_and_no_mask_where_the_service_has_one_and_no_threshold():
    region = np.zeros((60, 90), np.uint8)
    region[:, :20] = 7
    with client_of(create_app(Brightness(thresholds={}, region=region))) as client:
        options = {"format": "maps"}
        answer = client.post("/predict", content=png(scene(OBJECTS)), params=options)
        maps = np.load(io.BytesIO(answer.content))
        assert "mask" not in maps.files
        np.testing.assert_array_equal(maps["region"], region != 0)


def test_a_mask_needs_a_threshold():
    with client_of(create_app(Brightness(thresholds={}))) as client:
        body = png(scene(OBJECTS))
        answer = client.post("/predict", content=body, params={"format": "mask"})
        assert answer.status_code == 409
        assert "threshold=NUMBER" in answer.json()["detail"]
        options = {"format": "overlay", "style": "decision"}
        assert client.post("/predict", content=body, params=options).status_code == 409
        assert client.post("/predict", content=body, params=options | {"style": "heat"}).is_success
        options = {"format": "mask", "threshold": 90}
        assert client.post("/predict", content=body, params=options).status_code == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the file is empty"),
        (b"<html>not an image</html>", "image in the body"),
        (png(scene(OBJECTS))[:200], "the body"),
        (cv2.imencode(".jpg", scene(OBJECTS))[1].tobytes()[:-200], "truncated"),
    ],
)
def test_bodies_that_are_not_images_are_refused(client, body, message):
    answer = client.post("/predict", content=body)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


def test_settings_of_a_request_are_checked(client):
    body = png(scene(OBJECTS))
    for bad in ({"threshold": "nan"}, {"threshold": "warm"}, {"min_area": 0}):
        assert client.post("/predict", content=body, params=bad).status_code == 422, bad


def test_large_bodies_and_large_images_are_refused_before_they_are_decoded():
    limits = ServiceLimits(max_bytes=20_000, max_pixels=5000)
    with client_of(create_app(Brightness(), limits=limits)) as client:
        answer = client.post("/predict", content=bytes(20_001))
        assert answer.status_code == 413
        assert "20000 bytes" in answer.json()["detail"]
        # The limit itself is allowed; this is no image.
        assert client.post("/predict", content=bytes(20_000)).status_code == 422
        # Without a length in the header it is stopped while it arrives.
        answer = client.post("/predict", content=(bytes(1000) for _ in range(100)))
        assert answer.status_code == 413
        form = {"image": ("a.png", bytes(30_000), "image/png")}
        assert client.post("/predict", files=form).status_code == 413
        answer = client.post("/predict", content=png(scene([], (71, 71))))
        assert answer.status_code == 422
        assert "71x71 pixels are more than the allowed 5000" in answer.json()["detail"]
        assert client.post("/predict", content=png(scene([], (70, 70)))).status_code == 200


def test_images_that_hide_their_size_are_refused_before_they_are_decoded(client, monkeypatch):
    jpeg = cv2.imencode(".jpg", scene([], (121, 121)))[1].tobytes()
    tem = jpeg[:2] + b"\xff\x01" + jpeg[2:]  # a marker without a length
    # Width and height twice: tags 256 and 257, long whole numbers.
    entries = [(256, 10), (256, 5000), (257, 10), (257, 5000)]
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    tiff = b"II*\0" + struct.pack("<IH", 8, len(entries)) + tags + bytes(4)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    for body in (tem, tiff):
        answer = client.post("/predict", content=body)
        assert answer.status_code == 422
        assert "damaged" in answer.json()["detail"]


def test_a_failure_of_the_model_does_not_stop_the_service(client):
    answer = client.post("/predict", content=png(scene([], (13, 13))))
    assert answer.status_code == 500
    assert "13x13 images are beyond this model" in answer.json()["detail"]
    assert client.get("/health").json()["status"] == "ok"
    assert client.post("/predict", content=png(scene(OBJECTS))).status_code == 200


def test_facts_health_and_metrics(client):
    facts = client.get("/model").json()
    assert facts["classes"] == ["grey", "blue"]
    assert facts["colours"] == [[90, 90, 90], [0, 0, 255]]
    assert facts["thresholds"] == THRESHOLDS
    assert (facts["operating_point"], facts["threshold"]) == ("fpr 5%", 100.5)
    assert (facts["min_area"], facts["model"], facts["score"]) == (50, "tiny", "Brightness")
    client.post("/predict", content=png(scene(OBJECTS)))
    client.post("/predict", content=b"x")
    text = client.get("/metrics").text
    assert 'ood_seg_requests_total{status="200"} 1' in text
    assert 'ood_seg_requests_total{status="422"} 1' in text
    assert "ood_seg_images_total 1" in text


def test_the_calibration_is_a_fact_about_the_model(client):
    assert client.get("/model").json()["calibration"] is None
    with client_of(create_app(Calibrated())) as calibrated:
        facts = calibrated.get("/model").json()["calibration"]
    assert facts["parameters"] == {"slope": 0.05, "offset": -5.0}
    assert (facts["method"], facts["data_set"], facts["assumed_prior"]) == ("platt", "drawn", 0.01)


def test_a_mask_for_images_of_another_size_is_the_clients_error():
    region = np.zeros((60, 90), np.uint8)
    region[:, :20] = 1
    model = Brightness(region=region)
    with client_of(create_app(model)) as client:
        answer = client.post("/predict", content=png(scene(OBJECTS)))
        assert [one["box"] for one in answer.json()["instances"]] == [[10, 20, 10, 8]]
        answer = client.post("/predict", content=png(scene([], (90, 60))))
        assert answer.status_code == 422
        assert (
            "expected an image of (60, 90) (height, width), got (90, 60)" in answer.json()["detail"]
        )
    assert model.batches == [1]  # the other one was not even predicted


def test_a_request_times_out():
    answered = threading.Event()

    class HeldUp(Brightness):
        def predict(self, images):
            assert answered.wait(60)
            return super().predict(images)

    with client_of(create_app(HeldUp(), limits=ServiceLimits(timeout=0.05))) as client:
        answer = client.post("/predict", content=png(scene(OBJECTS)))
        answered.set()
        assert answer.status_code == 504
        assert "0.05 s" in answer.json()["detail"]


def test_a_client_that_stops_sending_frees_its_place():
    limits = ServiceLimits(timeout=0.05, max_queue=1, max_batch=1)
    with running(create_app(Brightness(), limits=limits), limits) as address:
        host, port = address.removeprefix("http://").split(":")
        for _ in range(3):  # one more than there are places
            with socket.create_connection((host, int(port)), timeout=60) as connection:
                head = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n"
                connection.sendall(head + b"only the beginning")
                assert connection.recv(100).startswith(b"HTTP/1.1 408 ")
        assert 'status="408"} 3' in httpx.get(f"{address}/metrics", timeout=60).text


def test_sixteen_clients_lose_nothing():
    model = Brightness(seconds=0.002)
    lock, answers, refused = threading.Lock(), [], []

    def one_client(number: int, address: str) -> None:
        with httpx.Client(base_url=address, timeout=60) as http:
            for turn in range(8):
                left, red = 5 + number * 4, 110 + turn
                body = png(scene([(left, 20, 10, 10, red)], (60, 90 + 2 * (number % 2))))
                while True:
                    answer = http.post("/predict", content=body)
                    if answer.status_code != 429:
                        break
                    assert answer.headers["Retry-After"] == "1"
                    with lock:
                        refused.append(number)
                    time.sleep(0.01)
                result = answer.json()
                with lock:
                    answers.append((number, turn))
                assert [one["box"] for one in result["instances"]] == [[left, 20, 10, 10]]
                assert result["max_score"] == red

    limits = ServiceLimits(max_queue=4, max_batch=4)
    with running(create_app(model, limits=limits)) as address:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda number: one_client(number, address), range(16)))
        text = httpx.get(f"{address}/metrics").text
    assert sorted(answers) == [(number, turn) for number in range(16) for turn in range(8)]
    assert sum(model.batches) == 128
    assert 'ood_seg_requests_total{status="200"} 128' in text
    assert ("429" in text) == bool(refused)


def test_more_than_the_queue_holds_is_answered_with_429():
    refused = threading.Event()

    class BusyUntilOneIsRefused(Brightness):
        def predict(self, images):
            assert refused.wait(60)
            return super().predict(images)

    model = BusyUntilOneIsRefused()
    limits = ServiceLimits(max_queue=1, max_batch=1)
    with running(create_app(model, limits=limits)) as address, ThreadPoolExecutor(8) as pool:
        body = png(scene(OBJECTS))

        def ask(_):
            status = httpx.post(f"{address}/predict", content=body, timeout=60).status_code
            if status == 429:
                refused.set()
            return status

        statuses = list(pool.map(ask, range(8)))
    assert set(statuses) == {200, 429}
    assert statuses.count(200) == sum(model.batches)


def test_a_client_that_disconnects_does_not_affect_others():
    model = Brightness(seconds=0.1)
    body = png(scene(OBJECTS))
    with running(create_app(model)) as address:
        host, port = address.removeprefix("http://").split(":")
        head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        for sent in (body[:50], body):
            with socket.create_connection((host, int(port))) as connection:
                connection.sendall(head.encode() + sent)
        answer = httpx.post(f"{address}/predict", content=body, timeout=60)
        assert answer.status_code == 200
        assert httpx.get(f"{address}/health").status_code == 200


def test_a_damaged_form_is_counted_with_the_status_of_its_answer(client):
    headers = {"content-type": "multipart/form-data"}
    assert client.post("/predict", content=b"abc", headers=headers).status_code == 400
    assert 'requests_total{status="400"} 1' in client.get("/metrics").text


def test_scores_that_are_nan_are_an_error():
    class Overflowing(Brightness):
        def predict(self, images):
            return [one._replace(anomaly=one.anomaly * np.nan) for one in super().predict(images)]

    with client_of(create_app(Overflowing()), raise_server_exceptions=False) as client:
        answer = client.post("/predict", content=png(scene([])))
    assert answer.status_code == 500
    assert "5400 anomaly scores are NaN" in answer.json()["detail"]
