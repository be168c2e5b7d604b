"""The page, used in a real browser: files, clips, threshold, layers, objects, downloads, errors."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

from service import Brightness, Calibrated, png, running, scene  # noqa: E402

from ood_seg.evaluation.saved_maps import MapFormat, read_scale_file, read_scores  # noqa: E402
from ood_seg.serving.app import ServiceLimits, create_app  # noqa: E402

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome found")

OBJECTS = [(10, 20, 12, 8, 120), (40, 30, 9, 9, 80), (70, 5, 3, 3, 200)]


@pytest.fixture(scope="module")
def address():
    with running(create_app(Brightness(), name="tiny")) as address:
        yield address


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as api:
        browser = api.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens pages; at the end, none may have asked another host or raised an error."""
    pages, faults = [], []

    def open_page(address, **options):
        page = browser.new_page(**{"viewport": {"width": 1200, "height": 900}, **options})
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on(
            "request",
            lambda request: (
                faults.append(request.url)
                if not request.url.startswith((address.partition("/#")[0], "blob:"))
                else None
            ),
        )
        page.goto(address)
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not faults, faults


@pytest.fixture
def page(open_page, address):
    return open_page(address)


def add(page, *files: tuple[str, bytes]) -> None:
    """Choose files, and wait until the service has answered for each."""
    before = page.evaluate("queue.entries.length")
    kinds = {"png": "image/png", "mp4": "video/mp4", "webm": "video/webm"}
    page.set_input_files(
        "#file",
        [
            {"name": name, "mimeType": kinds[name.rsplit(".")[-1]], "buffer": content}
            for name, content in files
        ],
    )
    until(
        page,
        f"queue.entries.length >= {before + len(files)} "
        "&& queue.entries.every((entry) => entry.range || entry.error)",
    )
    settle(page)


def until(page, condition: str) -> None:
    """Wait for a condition; `wait_for_function` needs `eval`, which the page may not use."""
    page.evaluate(
        "async () => { for (let end = performance.now() + 60000; !("
        + condition
        + "); await new Promise(requestAnimationFrame))"
        " if (performance.now() > end) throw new Error('timed out'); }"
    )


def settle(page) -> None:
    """Wait until what was changed is drawn."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def boxes(page) -> list[list[int]]:
    settle(page)
    found = page.eval_on_selector_all("#objects button", "all => all.map((one) => one.dataset.box)")
    return sorted([int(value) for value in one.split(",")] for one in found)


def pixel(page, x: int, y: int) -> list[int]:
    settle(page)
    return page.evaluate(
        "([x, y]) => [...canvas.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3)", [x, y]
    )


def saved(page, kind: str) -> tuple[str, bytes]:
    """Name and content of the file that a button offers."""
    with page.expect_download() as download:
        page.click(f"[data-save={kind}]")
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def grey(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)


def test_an_image_shows_the_objects_that_the_service_finds(page):
    add(page, ("scene.png", png(scene(OBJECTS))))
    assert boxes(page) == [[10, 20, 12, 8]]
    assert page.inner_text("#summary").startswith("1 unknown object; 1.94 %")
    assert "2 known classes, score Brightness" in page.inner_text("#about")
    assert page.evaluate("canvas.width + 'x' + canvas.height") == "90x60"
    assert page.inner_text("#message") == "scene.png"


def test_a_file_dropped_anywhere_is_analysed(page):
    content = list(png(scene(OBJECTS)))
    page.evaluate(
        """(bytes) => {
          const transfer = new DataTransfer();
          transfer.items.add(new File([Uint8Array.from(bytes)], "a.png", { type: "image/png" }));
          document.querySelector("h1").dispatchEvent(
            new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
        }""",
        content,
    )
    page.wait_for_selector("#view.ready")
    assert boxes(page) == [[10, 20, 12, 8]]


def test_slider_number_and_operating_point_move_the_threshold_without_the_model(address, open_page):
    model = Brightness()
    with running(create_app(model)) as own:
        page = open_page(own)
        add(page, ("scene.png", png(scene(OBJECTS))))
        page.fill("#area", "9")
        assert boxes(page) == [[10, 20, 12, 8], [70, 5, 3, 3]]
        page.evaluate(
            "threshold => { const slider = document.getElementById('threshold');"
            "slider.value = 1000 * (threshold - state.low) / (state.high - state.low);"
            "slider.dispatchEvent(new Event('input')); }",
            60,
        )
        assert boxes(page) == [[10, 20, 12, 8], [40, 30, 9, 9], [70, 5, 3, 3]]
        assert page.input_value("#point") == ""
        page.select_option("#point", label="fpr 5%")
        assert boxes(page) == [[10, 20, 12, 8], [70, 5, 3, 3]]
        page.fill("#exact", "150")
        page.press("#exact", "Enter")
        assert boxes(page) == [[70, 5, 3, 3]]
        assert model.batches == [1]


def test_objects_that_touch_at_a_corner_are_one_as_on_the_server(page, address):
    image = scene([(10, 10, 8, 8, 150), (18, 18, 8, 8, 150), (40, 40, 8, 8, 150)])
    add(page, ("scene.png", png(image)))
    answer = httpx.post(f"{address}/predict", content=png(image)).json()
    found = sorted(one["box"] for one in answer["instances"])
    assert boxes(page) == found == [[10, 10, 16, 16], [40, 40, 8, 8]]
    page.fill("#exact", "99")  # no longer the list of the service
    page.press("#exact", "Enter")
    assert boxes(page) == found


def test_probabilities_are_those_of_the_calibration(open_page):
    model = Calibrated()
    with running(create_app(model)) as own:
        page = open_page(own)
        add(page, ("scene.png", png(scene(OBJECTS))))
        assert page.input_value("#unit") == "probability"
        assert float(page.input_value("#exact")) == pytest.approx(
            100 * model.curve(100.5), rel=0.01
        )
        assert f"unknown {100 * model.curve(120):.0f} %" in page.inner_text("#objects")
        page.fill("#exact", f"{100 * model.curve(60):.6f}")
        page.press("#exact", "Enter")
        page.fill("#area", "9")
        assert boxes(page) == [[10, 20, 12, 8], [40, 30, 9, 9], [70, 5, 3, 3]]
        assert page.evaluate("state.threshold") == pytest.approx(60, abs=1e-3)
        page.select_option("#unit", "score")
        settle(page)
        assert float(page.input_value("#exact")) == 60
        assert "platt, made on drawn; assumes 1.00 %" in page.inner_text("#model")


def test_each_layer_has_its_colours_and_its_key(page):
    add(page, ("scene.png", png(scene(OBJECTS))))
    page.fill("#opacity", "1")
    for name in ("boxes", "contours"):
        page.uncheck(f"#{name}")
    page.keyboard.press("1")
    assert pixel(page, 15, 24) == [255, 20, 190]  # flagged
    assert pixel(page, 45, 34) == [80, 0, 0]  # below the threshold: the image as it is
    page.keyboard.press("2")
    assert pixel(page, 71, 6) == [252, 255, 164]  # the highest score
    assert pixel(page, 5, 50) == [0, 0, 4]
    page.keyboard.press("3")
    assert pixel(page, 5, 5) == [0, 0, 255]
    assert pixel(page, 5, 50) == [90, 90, 90]
    assert "blue" in page.inner_text("#classes")
    page.keyboard.press("4")
    assert pixel(page, 15, 24) == [120, 0, 0]
    assert page.get_attribute("[data-layer=image]", "aria-pressed") == "true"


def test_keys_choose_operating_points_objects_and_images(page):
    objects = [(10, 20, 12, 8, 120), (40, 30, 9, 9, 140)]
    add(page, ("b.png", png(scene(objects))), ("a.png", png(scene(OBJECTS))))
    assert page.inner_text("#position").startswith("1 of 2")
    assert page.inner_text("#message") == "a.png"  # in the order of their names
    page.keyboard.press("ArrowRight")
    until(page, "document.getElementById('message').textContent === 'b.png'")
    assert len(boxes(page)) == 2
    page.keyboard.press("ArrowDown")
    assert page.get_attribute("#objects button >> nth=0", "aria-pressed") == "true"
    page.keyboard.press("o")
    settle(page)
    assert page.input_value("#point") == "tpr 95%"
    page.keyboard.press("-")
    settle(page)
    assert page.evaluate("state.threshold") == pytest.approx(50.5 - (200 - 20) / 200)
    page.keyboard.press("?")
    assert page.is_visible("#help")


def test_downloads_are_what_the_service_would_give(page, address, tmp_path):
    image = scene(OBJECTS)
    add(page, ("scene.png", png(image)))
    page.fill("#exact", "60")
    page.press("#exact", "Enter")
    settle(page)
    options = {"threshold": 60, "format": "mask"}
    expected = httpx.post(f"{address}/predict", content=png(image), params=options).content
    name, content = saved(page, "mask")
    assert name == "scene_mask.png"
    np.testing.assert_array_equal(grey(content), grey(expected))
    name, content = saved(page, "json")
    result = json.loads(content)
    assert (name, result["schema"], result["name"]) == ("scene.json", "ood_seg.result/1", "scene")
    assert sorted(one["box"] for one in result["instances"]) == [[10, 20, 12, 8], [40, 30, 9, 9]]
    assert result["threshold"] == 60
    _, content = saved(page, "scores")
    assert grey(content).dtype == np.uint16
    scale = result["score_scale"]
    restored = scale["offset"] + scale["scale"] * grey(content).astype(float)
    np.testing.assert_allclose(restored, image[..., 2], atol=scale["scale"])
    _, content = saved(page, "view")
    assert cv2.imdecode(np.frombuffer(content, np.uint8), 1).shape == image.shape


def test_all_images_are_saved_as_evaluate_reads_them(page, tmp_path):
    images = {"a": scene(OBJECTS), "b": scene([(5, 5, 9, 9, 250)])}
    add(page, *((f"{name}.png", png(image)) for name, image in images.items()))
    _, content = saved(page, "all")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    scale = MapFormat(**read_scale_file(tmp_path / "scores" / "scale.json"))
    for name, image in images.items():
        restored = read_scores(tmp_path / "scores" / f"{name}.png", scale)
        np.testing.assert_allclose(restored, image[..., 2], atol=0.01)
        mask = grey((tmp_path / "masks" / f"{name}.png").read_bytes())
        np.testing.assert_array_equal(mask, np.where(image[..., 2] >= 100.5, 255, 0))
        assert json.loads((tmp_path / "results" / f"{name}.json").read_text())["name"] == name


def clip_of(tmp_path, reds) -> bytes:
    """A clip with a second of each red level."""
    path = tmp_path / "clip.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 10, (96, 64))
    if not writer.isOpened():
        pytest.skip("this OpenCV writes no VP8")
    for red in reds:
        for _ in range(10):
            writer.write(np.full((64, 96, 3), (0, 0, red), np.uint8))
    writer.release()
    return path.read_bytes()


def test_frames_of_a_clip_are_analysed_and_played(page, tmp_path):
    page.select_option("#rate", "2")
    add(page, ("clip.webm", clip_of(tmp_path, [30, 200, 30])))
    until(page, "queue.entries.every((entry) => entry.range)")
    assert page.evaluate("queue.entries.map((entry) => entry.time.toFixed(1))") == [
        "0.0",
        "0.5",
        "1.0",
        "1.5",
        "2.0",
        "2.5",
    ]
    flagged = page.evaluate("queue.entries.map((entry) => decide(entry.maps, state).share)")
    assert flagged == [0, 0, 1, 1, 0, 0]
    page.keyboard.press(" ")
    until(page, "queue.current === 3")
    assert boxes(page) == [[0, 0, 96, 64]]
    page.keyboard.press(" ")
    assert page.inner_text("#play") == "Play"


def test_files_that_are_not_images_are_reported_and_end_nothing(page):
    add(
        page,
        ("a.png", b"no image at all"),
        ("b.png", png(scene([], (13, 13)))),
        ("c.png", png(scene(OBJECTS))),
        ("d.mp4", b"no clip at all"),
    )
    messages = [
        re.escape("a.png: this browser cannot show it"),
        "13x13 images are beyond",
        "c.png$",
        "d.mp4: ",
    ]
    for index, message in enumerate(messages):
        page.click(f"#strip button >> nth={index}")
        until(page, f"queue.current === {index}")
        settle(page)
        assert re.search(message, page.inner_text("#message"))
    assert page.locator("#strip button.failed").count() == 3


def test_what_the_service_refuses_is_stated(open_page):
    with running(create_app(Brightness(), limits=ServiceLimits(max_pixels=5000))) as own:
        page = open_page(own)
        add(page, ("large.png", png(scene([], (71, 71)))))
        assert "5000" in page.inner_text("#message.error")


def test_a_region_limits_what_is_flagged(open_page):
    region = np.zeros((60, 90), np.uint8)
    region[:, :20] = 1
    with running(create_app(Brightness(region=region))) as own:
        page = open_page(own)
        add(page, ("scene.png", png(scene(OBJECTS))))
        page.fill("#area", "1")
        page.select_option("#point", label="tpr 95%")
        assert boxes(page) == [[10, 20, 10, 8]]
        assert f"{100 * 80 / 1200:.2f} %" in page.inner_text("#summary")


def test_the_token_in_the_address_is_used(open_page):
    with running(create_app(Brightness(), token="sécret")) as own:
        page = open_page(own + "/#s%C3%A9cret")
        add(page, ("scene.png", png(scene(OBJECTS))))
        assert boxes(page) == [[10, 20, 12, 8]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_colour_schemes(open_page, address, scheme):
    page = open_page(address, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    add(page, ("scene.png", png(scene(OBJECTS))), ("other.png", png(scene(OBJECTS))))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    text, ground = (
        page.evaluate(f"getComputedStyle(document.body).{name}")
        for name in ("color", "backgroundColor")
    )
    brightness = [sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in (text, ground)]
    assert (brightness[0] > brightness[1]) == (scheme == "dark")
    assert abs(brightness[0] - brightness[1]) > 150
