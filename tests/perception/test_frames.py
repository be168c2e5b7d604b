"""What each kind of source gives: order, names, indices, stamps, and failures that do not stop."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from fake_segmentor import random_image
from frame_files import write, write_video

from ood_seg.perception.core.types import Failure, Frame
from ood_seg.perception.io import listings
from ood_seg.perception.io.frames import open_frames
from ood_seg.perception.io.listings import UniqueNames, common_folder, safe_name


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


class Tensor:
    """What `open_frames` knows of the tensors of torch, JAX and others."""

    ndim, shape = 3, (3, 4, 5)

    def __iter__(self):
        yield from range(3)

    def __dlpack__(self):
        raise AssertionError


def test_tensors_are_a_type_error_at_once():
    for source in (Tensor(), [Tensor()], (random_image(), Tensor())):
        with pytest.raises(TypeError, match=r"source: .*NumPy array .*got Tensor; .*permute"):
            open_frames(source)


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


def test_a_file_that_is_found_through_a_link_is_given_once(tmp_path):
    for name in ("a/1.png", "a/b/2.png"):
        write(tmp_path / name)
    (tmp_path / "a" / "b" / "up").symlink_to("..")
    (tmp_path / "a" / "loop").symlink_to("loop")
    assert names(open_frames(str(tmp_path / "**" / "*.png"))) == ["1", "b/2"]


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
