"""What each kind of source gives: order, names, indices, stamps, and failures that do not stop."""

from __future__ import annotations

import http.server
import re
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_segmentor import random_image

from ood_seg.perception.core.types import Failure, Frame
from ood_seg.perception.io import listings
from ood_seg.perception.io.captures import LiveSource, stream_name
from ood_seg.perception.io.frames import open_frames
from ood_seg.perception.io.listings import UniqueNames, common_folder, safe_name


def write(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), random_image(seed))
    return path


def write_video(path: Path, frames: int, rate: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), rate, (64, 48))
    for index in range(frames):
        writer.write(np.full((48, 64, 3), 8 * index, np.uint8))
    writer.release()
    return path


def names(source) -> list[str]:
    return [outcome.name for outcome in source]


def test_one_image_file_and_one_array(tmp_path):
    path = write(tmp_path / "street.png")
    for source, name in ((path, "street"), (str(path), "street"), (random_image(), "image")):
        with open_frames(source) as opened:
            (frame,) = opened
            assert (frame.name, frame.index, frame.stamp) == (name, 0, None)
            np.testing.assert_array_equal(frame.image, random_image())
            assert (opened.count, opened.rate, opened.live) == (1, None, False)


def test_a_folder_is_naturally_sorted_without_hidden_files(tmp_path):
    for name in (
        "f10.png",
        "f2.png",
        "b/1.jpg",
        "b/1.png",
        ".hidden.png",
        ".git/x.png",
        "out/f.png",
    ):
        write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    source = open_frames(tmp_path, skip=tmp_path / "out")
    assert names(source) == ["f2", "f10", "b/1.jpg", "b/1.png"]
    assert names(source) == names(source)  # can be gone through again
    assert source.count == 4
    with pytest.raises(ValueError, match=rf"{re.escape(str(tmp_path))}.*output folder"):
        open_frames(tmp_path, skip=tmp_path)


def test_a_damaged_image_is_a_failure_between_frames(tmp_path):
    for name in ("a.png", "b.png", "d.png"):
        write(tmp_path / name)
    content = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "c.png").touch()
    outcomes = list(open_frames(tmp_path))
    assert [type(one) for one in outcomes] == [Frame, Failure, Failure, Frame]
    assert [one.index for one in outcomes] == [0, 1, 2, 3]
    assert outcomes[1].name == "b"
    assert f"{tmp_path / 'b.png'}: truncated" in outcomes[1].message
    assert "empty" in outcomes[2].message


def test_only_wanted_images_are_read_and_indices_are_kept(tmp_path):
    for name in "abcd":
        write(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_text("would fail if it were read")
    source = open_frames(tmp_path, wanted=lambda name: name in "bd")
    assert [(one.name, one.index) for one in source] == [("b", 1), ("d", 3)]
    assert source.count == 2


def test_pattern_and_list_file(tmp_path):
    for name in ("day/left/10.png", "day/left/9.png", "night/left/1.png", "night/right/1.png"):
        write(tmp_path / name)
    matched = names(open_frames(str(tmp_path / "*/left/*.png")))
    assert matched == ["day/left/9", "day/left/10", "night/left/1"]
    lines = ["# a comment", "", "night/left/1.png", "day/left/9.png", "gone.png", "day/left/9.png"]
    (tmp_path / "some.txt").write_text("\n".join(lines))
    source = open_frames(tmp_path / "some.txt")
    outcomes = list(source)
    assert [one.index for one in outcomes] == [0, 1, 2, 3]
    assert source.count == 4
    good = [one.name for one in outcomes if isinstance(one, Frame)]
    # The same image twice: two results, two names.
    assert good == ["night/left/1", "day/left/9", "day/left/9.png"]
    (tmp_path / "windows.txt").write_bytes(b"\xef\xbb\xbfday/left/9.png\r\nnight/left/1.png\r\n")
    assert names(open_frames(tmp_path / "windows.txt")) == ["day/left/9", "night/left/1"]
    assert "gone.png does not exist" in outcomes[2].message
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"list .*binary\.txt.*UTF-8"):
        list(open_frames(tmp_path / "binary.txt"))


def test_list_of_everything(tmp_path):
    image_file = write(tmp_path / "in" / "x.png")
    write(tmp_path / "in" / "folder" / "1.png")
    video = write_video(tmp_path / "in" / "drive.avi", 3)
    elements = [
        image_file,
        random_image(),
        tmp_path / "in" / "folder",
        str(video),
        "nowhere.png",
        7.5,
    ]
    source = open_frames(elements)
    outcomes = list(source)
    frames = [one.name.rpartition("in/")[2] for one in outcomes if isinstance(one, Frame)]
    clip = [f"drive/00000{index}" for index in range(3)]
    assert frames == ["x", "000001", "folder/1", *clip]
    assert [one.index for one in outcomes] == list(range(8))
    messages = [one.message for one in outcomes if isinstance(one, Failure)]
    assert "nowhere.png does not exist" in messages[0]
    assert "element 5: expected a path or array, got 7.5" in messages[1]


def test_patterns_and_lists_of_equal_names_do_not_collide(tmp_path):
    for side in ("left", "right"):
        for name in ("10", "9"):
            write(tmp_path / side / f"{name}.png")
        (tmp_path / f"{side}.txt").write_text(f"{side}/9.png\n{side}/10.png\n")
        (tmp_path / side / "some.txt").write_text("9.png\n")
    patterns = [str(tmp_path / side / "*.png") for side in ("left", "right")]
    source = open_frames(patterns)
    # As a shell would have expanded them.
    assert names(source) == ["left/9", "left/10", "right/9", "right/10"]
    assert source.count == 4
    assert names(open_frames([patterns[0]])) == ["9", "10"]
    lists = [tmp_path / "left.txt", tmp_path / "right.txt"]
    assert names(open_frames(lists)) == ["left/9", "left/10", "right/9", "right/10"]
    assert names(open_frames([tmp_path / "left" / "some.txt", *lists[1:]])) == [
        "left/some/9",
        "right/9",
        "right/10",
    ]
    (failure,) = open_frames([str(tmp_path / "no*.png")])
    assert "no*.png does not exist" in failure.message
    literal = write(tmp_path / "frame[1].png")
    assert names(open_frames([literal, patterns[0]]))[0] == "frame[1]"


def test_folders_with_a_dot_keep_their_whole_name(tmp_path):
    for folder in ("drive.1", "drive.2"):
        write(tmp_path / folder / "a.png")
    assert names(open_frames([tmp_path / "drive.2", tmp_path / "drive.1"])) == [
        "drive.2/a",
        "drive.1/a",
    ]


def test_a_name_that_is_too_long_is_a_failure(tmp_path):
    write(tmp_path / "a.png")
    (tmp_path / "some.txt").write_text("\n".join(["b" * 300 + ".png", "c" * 300, "a.png"]))
    first, second, last = open_frames(tmp_path / "some.txt")
    assert "cannot be read (File name too long)" in first.message
    assert "does not exist" in second.message
    assert isinstance(last, Frame)


def test_frames_and_generators_pass_through():
    frames = [Frame(random_image(), "a", 5, 0.5), Failure("b", "lost")]
    source = open_frames(one for one in frames)
    outcomes = list(source)
    assert source.count is None
    assert [(one.name, one.index) for one in outcomes] == [("a", 0), ("b", 1)]
    assert outcomes[0].stamp == 0.5
    assert open_frames(source) is source


def test_video_has_stamps_from_its_rate(tmp_path):
    source = open_frames(write_video(tmp_path / "clip.avi", 10, rate=12.5))
    assert (source.count, source.rate, source.size, source.live) == (10, 12.5, (48, 64), False)
    frames = list(source)
    assert [frame.name for frame in frames[:2]] == ["clip/000000", "clip/000001"]
    np.testing.assert_allclose([frame.stamp for frame in frames], np.arange(10) / 12.5)
    # Frame k was painted 8 k: none is lost, none comes twice.
    values = [frame.image.mean() for frame in frames]
    np.testing.assert_allclose(values, 8 * np.arange(10), atol=2)
    skipped = open_frames(tmp_path / "clip.avi", wanted=lambda name: name != "clip")
    assert list(skipped) == []


def test_truncated_video_ends_with_a_failure(tmp_path):
    path = tmp_path / "clip.mkv"  # its header tells the length, unlike MP4's, which comes last
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 25, (64, 48))
    for index in range(30):
        writer.write(random_image(index, 48, 64))
    writer.release()
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    source = open_frames(path)
    assert source.count == 30
    *frames, last = source
    assert 5 < len(frames) < 20
    assert isinstance(last, Failure)
    assert f"ends after {len(frames)} of 30 frames" in last.message


def test_sources_that_cannot_be_opened(tmp_path):
    (tmp_path / "clip.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"video .*clip\.mp4"):
        open_frames(tmp_path / "clip.mp4")
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        open_frames(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        open_frames(str(tmp_path / "*.webp"))
    with pytest.raises(TypeError, match="got float"):
        open_frames(1.5)
    with pytest.raises(ValueError, match=r"list\(images\)"):
        open_frames(np.zeros((2, 4, 5, 3), np.uint8))
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match=r"no images in .*none"):
        open_frames(tmp_path / "none")


class Camera:
    """Stands in for OpenCV's capture: each opening gives the next of `runs` frames."""

    def __init__(self, runs: list[int]) -> None:
        self.runs, self.opened, self.released = list(runs), 0, 0

    def __call__(self, address):
        self.left = self.runs.pop(0) if self.runs else -1
        self.opened += 1
        return self

    def isOpened(self) -> bool:
        return self.left >= 0

    def get(self, _):
        return 0.0

    def read(self):
        self.left -= 1
        return (True, random_image()) if self.left >= 0 else (False, None)

    def release(self):
        self.released += 1


def test_a_camera_that_stops_is_reopened_a_few_times():
    camera = Camera([2, 0, 3])
    source = LiveSource(0, "camera0", reconnects=3, wait=0.001, capture=camera)
    assert source.live
    assert source.count is None
    *frames, last = source
    assert [frame.name for frame in frames] == [f"camera0/00000{index}" for index in range(5)]
    assert frames[0].stamp > 1.6e9
    assert isinstance(last, Failure)
    assert last.name == "camera 0"
    assert re.search("5 frames.* 3 times", last.message)
    # Two tries after the first stop, of which the second succeeded; three after the second.
    assert camera.opened == 1 + 2 + 3
    assert camera.released >= 5


def test_a_missing_camera():
    with pytest.raises(ValueError, match="camera 3: cannot be opened"):
        LiveSource(3, "camera3", capture=Camera([]))


def test_closing_ends_the_wait_for_a_camera():
    source = LiveSource(0, "camera0", wait=60, capture=Camera([1]))
    iterator = iter(source)
    next(iterator)
    threading.Timer(0.2, source.close).start()
    assert list(iterator) == []


@pytest.fixture
def server(tmp_path):
    """Serves the files of `tmp_path` on loopback."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=tmp_path)

        def do_GET(self):
            if self.path == "/camera.mjpeg":
                self.send_camera()
            else:
                super().do_GET()

        def send_camera(self):
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for index in range(20):
                content = cv2.imencode(".jpg", np.full((48, 64, 3), 10 * index, np.uint8))[1]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}"
                self.wfile.write(f"{head}\r\n\r\n".encode() + content.tobytes() + b"\r\n")

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_images_and_videos_at_urls(server, tmp_path):
    write(tmp_path / "street.png")
    write_video(tmp_path / "drive.avi", 4)
    (frame,) = open_frames(f"{server}/street.png")
    assert frame.name == "127.0.0.1/street"
    np.testing.assert_array_equal(frame.image, random_image())
    (failure,) = open_frames(f"{server}/gone.png")
    assert "cannot be fetched (HTTP Error 404" in failure.message
    (failure,) = open_frames(f"{server}/street.png", max_pixels=10)
    assert "more than 80 bytes" in failure.message
    (failure,) = open_frames(f"{server}/street.png", max_pixels=37 * 53 - 1)
    assert "53x37 pixels are more than the allowed 1960" in failure.message
    video = open_frames(f"{server}/drive.avi")
    assert (video.count, video.live) == (4, False)
    assert len(list(video)) == 4
    with pytest.raises(ValueError, match="cannot be opened"):
        open_frames(f"{server}/gone.mjpeg")


def test_a_stream_over_http_that_stops(server):
    source = open_frames(f"{server}/camera.mjpeg")
    assert isinstance(source, LiveSource)
    source._reconnects, source._wait = 1, 0.01
    with source:
        iterator = iter(source)
        images = [next(iterator).image for _ in range(15)]
        means = [image.mean() for image in images]
        np.testing.assert_allclose(np.diff(means), 10, atol=2)
    # Closed, it ends with the frame that comes next at the latest.
    assert len(list(iterator)) <= 1


def test_passwords_are_not_shown():
    assert stream_name("rtsp://me:secret@cam.local:554/left?token=1") == "cam.local/left"
    with pytest.raises(ValueError, match=r"rtsp://\.\.\.@cam/left: cannot") as raised:
        LiveSource("rtsp://me:secret@cam/left", "cam", capture=Camera([]))
    assert "secret" not in str(raised.value)


def test_malformed_addresses_are_failures():
    urls = ["http://me:secret@cam/a.png", "http://a cam/a.png", "http://[cam/a.png"]
    outcomes = list(open_frames([*urls, random_image()]))
    assert [type(one) for one in outcomes] == [Failure] * 3 + [Frame]
    assert "http://...@cam/a.png: " in outcomes[0].message
    assert "secret" not in outcomes[0].message
    assert "http://a cam/a.png: cannot be fetched" in outcomes[1].message


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("../../etc/passwd", "__/__/etc/passwd"),
        ("/data/a", "data/a"),
        (r"C:\drive\a", "C_/drive/a"),
        ("a\nb", "a_b"),
        ("..", "__"),
        ("./", "image"),
    ],
)
def test_names_stay_below_the_output_folder(text, name):
    assert safe_name(text) == name
    assert (Path("/out") / name).resolve().is_relative_to("/out")


def test_names_are_unique():
    unique = UniqueNames()
    made = [unique("a", i, s) for i, s in enumerate([".png", ".jpg", ".png", ".png"])]
    assert made == ["a", "a.jpg", "a.png", "a_3"]
    assert unique("a_3", 3) == "a_3_3"


def test_common_folder(tmp_path):
    assert common_folder(iter([])) == ""
    assert common_folder(iter(["/a/b/c.png", "/a/bc/d.png"])) == "/a"
    assert common_folder(iter(["/a/b/c.png", "/a/b/d/e.png"])) == "/a/b"
    assert common_folder(iter(["/a/b.png", "/c.png", "/a/d.png"])) == "/"


def test_natural_order_falls_back_to_the_name():
    ordered = sorted(["a10", "a9", "a09", "b", "10", "9"], key=listings.natural_key)
    assert ordered == ["9", "10", "a09", "a9", "a10", "b"]


def test_bytes_are_refused_and_bad_arrays_are_named_by_number():
    with pytest.raises(TypeError, match="got bytes"):
        open_frames(b"abc")
    (failure,) = open_frames([np.zeros((5, 5))])
    assert failure.name == "000000"
