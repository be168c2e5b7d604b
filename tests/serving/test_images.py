"""The pixels that are decoded and predicted at a time, and maps in the size of the image."""

from __future__ import annotations

import asyncio
import io
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")

from service import Brightness, client_of, png, scene

from ood_seg.perception.core.types import Prediction
from ood_seg.serving.app import ServiceLimits, create_app
from ood_seg.serving.images import PixelBudget, enlarged, reduced


@pytest.mark.parametrize("size", [(60, 90), (1, 5400), (5400, 1), (2, 2700), (73, 74)])
@pytest.mark.parametrize("pixels", [1, 7, 1000, 5399])
def test_a_reduced_image_has_at_most_the_pixels_and_its_shape(size, pixels):
    small = reduced(np.zeros((*size, 3), np.uint8), pixels)
    height, width = small.shape[:2]
    assert 1 <= height * width <= pixels
    if pixels == 1000 and min(size) > 2:
        assert height * width > 900
        assert width / height == pytest.approx(size[1] / size[0], rel=0.05)


def test_an_image_within_the_pixels_stays_as_it_is():
    image = np.zeros((6, 9, 3), np.uint8)
    assert reduced(image, 54) is image


def test_maps_are_enlarged_in_place():
    """A quarter of the image differs; its border stays where it is."""
    image = np.zeros((20, 30, 3), np.uint8)
    labels = np.zeros((20, 30), np.uint8)
    labels[10:, 15:] = 7
    scores = np.where(labels == 7, np.float32(2), np.float32(-1))
    for probability in (None, scores / 4 + 0.5):
        large = enlarged(Prediction(labels, scores, probability), image, (60, 90))
        np.testing.assert_array_equal(large.labels, np.kron(labels, np.ones((3, 3), np.uint8)))
        assert large.anomaly.dtype == np.float32
        assert (large.anomaly[:28, :43] == -1).all()
        assert (large.anomaly[32:, 47:] == 2).all()
        assert -1 <= large.anomaly.min() <= large.anomaly.max() <= 2
        assert (large.probability is None) == (probability is None)


def test_a_prediction_of_another_size_than_the_reduced_image_is_an_error():
    wrong = Prediction(np.zeros((60, 90), np.uint8), np.zeros((60, 90), np.float32))
    with pytest.raises(ValueError, match=r"expected \(20, 30\)"):
        enlarged(wrong, np.zeros((20, 30, 3), np.uint8), (60, 90))


def test_the_answer_has_the_size_of_the_image_and_says_that_it_was_reduced():
    class Sizes(Brightness):
        def predict(self, images):
            seen.extend(one.shape[:2] for one in images)
            return super().predict(images)

    seen = []
    image = scene([(30, 20, 30, 20, 200)])
    limits = ServiceLimits(batch_pixels=600)
    with client_of(create_app(Sizes(), limits=limits)) as client:
        answer = client.post("/predict", content=png(image), params={"format": "scores"})
        assert answer.headers["X-Reduced-To"] == "30x20"
        scores = np.load(io.BytesIO(answer.content))
        assert scores.shape == (60, 90)
        assert np.abs(scores - image[..., 2])[:16].max() == 0
        result = client.post("/predict", content=png(image)).json()
        assert result["size"] == [60, 90]
        (box,) = (one["box"] for one in result["instances"])
        np.testing.assert_allclose(box, (30, 20, 30, 20), atol=1)
        small = client.post("/predict", content=png(image[:20, :30]))
        assert "X-Reduced-To" not in small.headers
        assert client.get("/model").json()["batch_pixels"] == 600
    assert seen == [(20, 30)] * 3


def test_images_wait_for_their_pixels_in_order_of_arrival():
    async def hold(budget, name, pixels):
        async with budget.hold(pixels):
            order.append(name)
            await gates[name].wait()

    async def main():
        for name in "abcd":
            gates[name] = asyncio.Event()
        budget = PixelBudget(10)
        tasks = []
        for name, pixels in (("a", 6), ("b", 4), ("c", 10), ("d", 1)):
            tasks.append(asyncio.create_task(hold(budget, name, pixels)))
            await asyncio.sleep(0)
        await until(lambda: order == ["a", "b"])
        gates["a"].set()
        await tasks[0]
        # There is room for d, but c, which needs everything, came before it.
        for _ in range(10):
            await asyncio.sleep(0)
        assert order == ["a", "b"]
        gates["b"].set()
        await until(lambda: order == ["a", "b", "c"])
        tasks[2].cancel()  # one that is given up returns its pixels
        await until(lambda: order == ["a", "b", "c", "d"])
        gates["d"].set()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with budget.hold(10):  # all are free again
            pass

    async def until(is_so):
        while not is_so():
            await asyncio.sleep(0)

    order, gates = [], {}
    asyncio.run(asyncio.wait_for(main(), 60))
