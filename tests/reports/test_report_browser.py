"""A headless browser shows the report: its values, without an error, also sorted by a click."""

import shutil
import subprocess

import cv2
import numpy as np
import pytest
from report_html import Page
from report_samples import evaluation, write_maps

from ood_seg.reports import write_reports

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None
)
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium or google-chrome found")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    images = write_maps(folder / "maps", 5)
    images[4].update(name="9 <last>", ap=None)
    return write_reports(evaluation(images), folder, ["html"])["html"]


def browse(page, profile, *switches) -> str:
    """Open the page; its text output. An error in the console fails the test."""
    command = [BROWSER, *SWITCHES, f"--user-data-dir={profile}", *switches, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    spoken = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not spoken, spoken
    return done.stdout


def test_values_in_the_document(report, tmp_path):
    tables = Page(browse(report, tmp_path, "--dump-dom")).tables
    assert tables["Pixel metrics in percent"][1][:3] == ["AUROC ↑", "90.00", "87.00 to 93.00"]
    names = [row[0] for row in tables["Metrics of each image in percent"][1:]]
    assert names == ["000", "001", "002", "003", "9 <last>"]


@pytest.mark.parametrize(
    ("clicks", "expected"),
    [(1, ["000", "001", "002", "003", "9 <last>"]), (2, ["003", "002", "001", "000", "9 <last>"])],
)
def test_a_click_sorts_and_keeps_undefined_last(report, tmp_path, clicks, expected):
    click = '<script>document.querySelectorAll("#images thead button")[4].click()</script>'
    page = tmp_path / "clicked.html"
    text = report.read_text(encoding="utf-8")
    page.write_text(text.replace("</body>", click * clicks + "</body>"), encoding="utf-8")
    shown = Page(browse(page, tmp_path / "profile", "--dump-dom"))
    rows = shown.tables["Metrics of each image in percent"]
    assert [row[0] for row in rows[1:]] == expected
    order = [attrs.get("aria-sort") for tag, attrs in shown.elements if tag == "th"]
    assert [one for one in order if one] == ["ascending" if clicks == 1 else "descending"]


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (500, False)])
def test_screenshot(report, tmp_path, width, dark):
    shot = tmp_path / "shot.png"
    switches = [f"--window-size={width},2400", f"--screenshot={shot}"]
    browse(report, tmp_path / "profile", *switches, *["--force-dark-mode"] * dark)
    shown = cv2.imread(str(shot))
    assert shown.shape == (2400, width, 3)
    # The ground is light or dark, and there is something on it from top to bottom.
    ground = np.median(shown)
    assert ground < 60 if dark else ground > 200
    busy = (np.abs(shown.astype(int) - ground).max(2) > 60).mean(1)
    parts = busy.reshape(8, -1).mean(1)
    assert (parts > 0.003).all(), parts
    # Nothing sticks out to the right.
    assert (np.abs(shown[:, -8:].astype(int) - shown[0, -1]).max() < 30).all()
