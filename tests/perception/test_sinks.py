"""Files of each image: names, content, what is kept, what is refused; colours of videos."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_segmentor import FakeSegmentor, random_image

from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Frame
from ood_seg.perception.io.sinks import FolderSink, VideoSink
from ood_seg.perception.io.video_io import VideoWriter


def result(name: str = "city/a", image: np.ndarray | None = None) -> AnomalyResult:
    segmentor = FakeSegmentor(min_area=1)
    frame = Frame(random_image() if image is None else image, name)
    return segmentor.result(frame, segmentor.predict([frame.image])[0])


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_files_and_their_content(tmp_path):
    kinds = ["overlay", "labels", "scores", "mask", "json", "scores-png"]
    sink = FolderSink(tmp_path, kinds, limits=(0.25, 0.75))
    one = result()
    sink.write(one)
    assert all(path.exists() for path in sink.paths("city/a"))
    assert sink.existing("city/a") == sink.paths("city/a")
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")}
    endings = ("_overlay.png", "_labels.png", "_scores.npy", "_mask.png", ".json")
    scores = {"scores/city/a.png", "scores/scale.json"}
    assert written == {f"city/a{ending}" for ending in endings} | scores
    np.testing.assert_array_equal(read(tmp_path / "city/a_labels.png"), one.labels)
    np.testing.assert_array_equal(read(tmp_path / "city/a_mask.png"), one.mask * 255)
    np.testing.assert_array_equal(np.load(tmp_path / "city/a_scores.npy"), one.anomaly)
    overlay = one.overlay(limits=(0.25, 0.75))
    np.testing.assert_array_equal(read(tmp_path / "city/a_overlay.png"), overlay)
    (path,) = one.save(tmp_path / "own", "overlay", limits=(0.25, 0.75))
    np.testing.assert_array_equal(read(path), overlay)
    deep = read(tmp_path / "scores/city/a.png")
    assert deep.dtype == np.uint16
    # value = offset + scale * stored; outside the range the nearer end.
    restored = 0.25 + deep * (0.5 / 65535)
    np.testing.assert_allclose(restored, one.anomaly.clip(0.25, 0.75), atol=0.5 / 65535)


def test_the_style_is_that_asked_for(tmp_path):
    one = result("a")
    for style in ("heat", "side-by-side"):
        FolderSink(tmp_path, ["overlay"], style=style, overwrite=True).write(one)
        np.testing.assert_array_equal(read(tmp_path / "a_overlay.png"), one.overlay(style=style))


def test_overlays_have_the_pixels_of_odd_images(tmp_path):
    image = np.full((37, 53, 3), 20, np.uint8)
    image[11:17, 31:44] = (250, 20, 20)
    FolderSink(tmp_path, ["overlay"], style="heat").write(result("odd", image))
    overlay = read(tmp_path / "odd_overlay.png").astype(int)
    assert overlay.shape == image.shape
    # The object's inside is one colour, its surroundings another; the border is where it was.
    inside, outside = overlay[14, 37], overlay[30, 10]
    assert np.abs(inside - outside).max() > 60
    assert (overlay[13:15, 33:42] == inside).all()
    assert (overlay[20:, :] == outside).all()


def test_existing_files(tmp_path):
    kinds = ["labels", "mask"]
    FolderSink(tmp_path, kinds).write(result("a"))
    with pytest.raises(ValueError, match=r"2 files exist .*a_labels\.png.*--overwrite"):
        FolderSink(tmp_path, kinds).write(result("a"))
    before = (tmp_path / "a_labels.png").stat().st_mtime_ns
    FolderSink(tmp_path, kinds, skip=True).write(result("a"))
    assert (tmp_path / "a_labels.png").stat().st_mtime_ns == before
    (tmp_path / "a_mask.png").unlink()
    FolderSink(tmp_path, kinds, skip=True).write(result("a"))
    assert (tmp_path / "a_mask.png").exists()
    FolderSink(tmp_path, kinds, overwrite=True).write(result("a", random_image(5)))
    np.testing.assert_array_equal(read(tmp_path / "a_labels.png"), random_image(5)[..., 1] >= 128)


def test_processes_that_write_the_scale_at_the_same_time(tmp_path, monkeypatch):
    replace, others = os.replace, []

    def late(*paths):
        if not others:
            others.append(None)
            FolderSink(tmp_path, ["scores-png"], limits=(0, 1))
        replace(*paths)

    monkeypatch.setattr(os, "replace", late)
    FolderSink(tmp_path, ["scores-png"], limits=(0, 1))
    assert [path.name for path in (tmp_path / "scores").iterdir()] == ["scale.json"]


def test_a_damaged_scale_is_named(tmp_path):
    (tmp_path / "scores").mkdir()
    for text in ("{", "[" * 100_000):
        (tmp_path / "scores" / "scale.json").write_text(text)
        with pytest.raises(ValueError, match=r"scale\.json"):
            FolderSink(tmp_path, ["scores-png"], limits=(0, 1))
    FolderSink(tmp_path, ["scores-png"], limits=(0, 1), overwrite=True)


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"kinds: .*overlay, .*'maps'"):
        FolderSink(tmp_path, ["maps"])
    with pytest.raises(ValueError, match="--score-range"):
        FolderSink(tmp_path, ["scores-png"])
    FolderSink(tmp_path, ["scores-png"], limits=(0, 1))
    FolderSink(tmp_path, ["scores-png"], limits=(0, 1))
    with pytest.raises(ValueError, match=r"scale\.json .*0\.\.2"):
        FolderSink(tmp_path, ["scores-png"], limits=(0, 2))
    with pytest.raises(ValueError, match="no probability to save"):
        FolderSink(tmp_path, ["probability"]).write(result("a"))


def test_colours_of_a_video_compare_between_frames(tmp_path):
    """The range of the first frame is kept: an object that appears leaves the rest as it was."""
    plain = np.full((48, 64, 3), 20, np.uint8)
    plain[:, :32, 0] = 60
    later = plain.copy()
    later[20:30, 40:50, 0] = 250
    sink = VideoSink(VideoWriter(tmp_path / "v.avi", 25))
    for index, image in enumerate((plain, later)):
        segmentor = FakeSegmentor(operating_point=9.0)
        frame = Frame(image, f"v/{index}", index)
        sink.write(segmentor.result(frame, segmentor.predict([image])[0]))
    sink.close()
    capture = cv2.VideoCapture(str(tmp_path / "v.avi"))
    first, second = (capture.read()[1].astype(int) for _ in range(2))
    assert np.abs(first - second)[:, :32].max() < 12


class Recorder:
    """Stands in for a `VideoWriter`: the red value of each image written."""

    def __init__(self, rate: float) -> None:
        self.rate, self.shown = rate, []

    @property
    def written(self) -> int:
        return len(self.shown)

    def write(self, image: np.ndarray) -> None:
        self.shown.append(int(image[0, 0, 2]))


@pytest.fixture
def plain_overlays(monkeypatch):
    """Overlays are a tenth of the image."""
    monkeypatch.setattr(AnomalyResult, "overlay", lambda self, **options: self.image // 10)


def shown(stamps, rate: float, **options) -> tuple[list[int], int]:
    """Numbers of the results, from 1, in the order of the video; and how many are left out."""
    recorder = Recorder(rate)
    sink = VideoSink(recorder, limits=(0, 1), **options)
    for number, stamp in enumerate(stamps, 1):
        one = result("a", np.full((4, 4, 3), 10 * number, np.uint8))
        sink.write(replace(one, stamp=stamp))
    return recorder.shown, sink.left_out


@pytest.mark.usefixtures("plain_overlays")
@pytest.mark.parametrize(
    ("stamps", "rate", "expected"),
    [
        ([0, 0.1, 0.2, 0.3], 10, [1, 2, 3, 4]),
        ([5, 5.1, 5.5, 5.6], 10, [1, 2, 2, 2, 2, 3, 4]),  # the second stands until the third
        ([0, 0.1, 0.199, 0.498], 10, [1, 2, 3, 3, 3, 4]),  # times rounded by the container
        ([None, None, None], 10, [1, 2, 3]),
        ([0, 0.1, 0, 0.1, 0.3], 10, [1, 2, 3, 4, 4, 5]),  # the next video of a list
        ([0, None, 0.1, 0.3], 10, [1, 2, 3, 3, 4]),
        ([7, 7, 7], 10, [1, 2, 3]),
        # All are written, and those behind catch up.
        ([0, 0.05, 0.1, 0.15, 1], 10, [1, 2, 3, 4, 4, 4, 4, 4, 4, 4, 5]),
        # A clock that jumps by years does so in a minute.
        ([0, 1.7e9, 1.7e9 + 2], 0.1, [1, 1, 1, 1, 1, 1, 1, 2, 3]),
    ],
)
def test_images_stand_in_the_video_until_the_next_one(stamps, rate, expected):
    assert shown(stamps, rate) == (expected, 0)


@pytest.mark.usefixtures("plain_overlays")
@pytest.mark.parametrize(
    ("stamps", "rate", "expected"),
    [
        ([k / 30 for k in range(7)], 10, ([1, 4, 7], 4)),
        ([k / 25 for k in range(6)], 10, ([1, 3, 6], 3)),  # 0, 0.08 and 0.2 s
        ([0, 0.05, 0.1, 0.15, 0.5], 10, ([1, 3, 3, 3, 3, 5], 2)),
        ([0, 0.1, 0.2], 20, ([1, 1, 2, 2, 3], 0)),
        ([None] * 3, 1, ([1, 2, 3], 0)),
    ],
)
def test_a_chosen_rate_keeps_the_times_and_leaves_images_out(
    stamps, rate, expected, plain_overlays
):
    assert shown(stamps, rate, all_images=False) == expected
