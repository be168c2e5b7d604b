"""The page, used in a real browser: drop, slider, operating point, boxes, errors."""

from __future__ import annotations

import base64
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from service import Brightness, png, running, scene  # noqa: E402

from ood_seg.serving.app import create_app  # noqa: E402

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome found")

OBJECTS = [(10, 20, 12, 8, 120), (40, 30, 9, 9, 80), (70, 5, 3, 3, 200)]
DROP = """([name, data]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const transfer = new DataTransfer();
  transfer.items.add(new File([bytes], name, { type: "image/png" }));
  document.getElementById("drop").dispatchEvent(
    new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


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
def page(browser, address):
    page = browser.new_page(viewport={"width": 1000, "height": 900})
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    yield page
    page.close()
    assert not errors, errors


def drop(page, content: bytes, name: str = "scene.png") -> None:
    page.evaluate(DROP, [name, base64.b64encode(content).decode()])


def boxes(page) -> list[list[int]]:
    rows = page.locator("#objects tbody tr").all()
    cells = [[cell.inner_text() for cell in row.locator("td").all()] for row in rows]
    return sorted([int(value) for value in row[1:5]] for row in cells)


def test_a_dropped_image_shows_the_objects_that_the_service_finds(page, address):
    drop(page, png(scene(OBJECTS)))
    page.wait_for_selector("#view.ready")
    assert boxes(page) == [[10, 20, 12, 8]]
    assert page.inner_text("#summary").startswith("1 unknown object; 1.94 %")
    assert "2 known classes, score Brightness" in page.inner_text("#about")
    assert page.evaluate("canvas.width + 'x' + canvas.height") == "90x60"
    flagged = page.evaluate("[...canvas.getContext('2d').getImageData(15, 24, 1, 1).data]")
    assert flagged[0] > 180  # orange over red
    assert flagged[2] < 60


def test_the_slider_moves_the_threshold_and_the_area_leaves_small_objects_out(page):
    drop(page, png(scene(OBJECTS)))
    page.wait_for_selector("#view.ready")
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


def test_objects_that_touch_at_a_corner_are_one_as_on_the_server(page, address):
    image = scene([(10, 10, 8, 8, 150), (18, 18, 8, 8, 150), (40, 40, 8, 8, 150)])
    drop(page, png(image))
    page.wait_for_selector("#view.ready")
    import httpx

    answer = httpx.post(f"{address}/predict", content=png(image)).json()
    assert boxes(page) == sorted(one["box"] for one in answer["instances"])
    assert boxes(page) == [[10, 10, 16, 16], [40, 40, 8, 8]]


def test_files_that_are_not_images_are_reported(page):
    drop(page, b"no image at all", "notes.png")
    page.wait_for_selector("#message.error")
    assert page.inner_text("#message").startswith("notes.png: ")
    drop(page, png(scene(OBJECTS)))
    page.wait_for_selector("#view.ready")
    assert page.inner_text("#message") == "scene.png"
    drop(page, png(scene([], (13, 13))), "odd.png")
    page.wait_for_selector("#message.error")
    assert "13x13 images are beyond this model" in page.inner_text("#message")
