"""`ood-seg infer` in processes of its own: kills, several at once, Ctrl-C, no torch."""

from __future__ import annotations

import contextlib
import json
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_segmentor import random_image
from infer_process import finish, start

from ood_seg.perception.io.frames import open_frames

COUNT = 60


def several(world: int, *arguments, seconds: float = 0.0) -> list[subprocess.Popen]:
    """As torchrun or srun would start them."""
    names = ("RANK", "WORLD_SIZE") if world % 2 else ("SLURM_PROCID", "SLURM_NTASKS")
    return [
        start(
            *arguments,
            seconds=seconds,
            environment=dict(zip(names, (str(rank), str(world)), strict=True)),
        )
        for rank in range(world)
    ]


def kill(processes: list[subprocess.Popen], when: Callable[[], bool]) -> None:
    """SIGKILL to all once `when()` holds; none of them may have ended before."""
    deadline = time.monotonic() + 30
    while not when() and time.monotonic() < deadline:
        time.sleep(0.01)
    for process in processes:
        process.kill()
        process.communicate()


def names_in(folder: Path) -> set[str]:
    """Of whole lines in all files, which may be moved meanwhile."""
    return {record["name"] for record in records_in(folder)}


def records_in(folder: Path) -> list[dict]:
    """Whole lines of all files."""
    records = []
    for file in folder.glob("*.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            records += [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]
    return records


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "photos"
    for index in range(COUNT):
        path = folder / f"day{index % 3}" / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), random_image(index))
    return folder


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_kills_at_any_moment_and_other_numbers_of_processes(seed, photos, tmp_path, monkeypatch):
    out = tmp_path / "out"
    options = (photos, "--out", out, "--save", "mask", "labels", "--resume")
    monkeypatch.setenv("FAKE_MOST", "5")  # of each process, so that every kill comes in time
    rng = random.Random(seed)
    for world in (3, 2, 4, 1):
        before = len(names_in(out))
        some = before + rng.randint(2, 5)
        kill(
            several(world, *options) if world > 1 else [start(*options)],
            lambda some=some: len(names_in(out)) >= some,
        )
        assert len(names_in(out)) < COUNT
    monkeypatch.delenv("FAKE_MOST")
    processes = several(2, *options)
    for process in processes:
        text, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "of 2: " in text
    names = [record["name"] for record in records_in(out)]
    assert sorted(names) == sorted(f"day{index % 3}/{index}" for index in range(COUNT))
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png"))
    assert files == sorted(f"{name}_{kind}.png" for name in names for kind in ("mask", "labels"))
    for name in names[::10]:
        mask = cv2.imread(str(out / f"{name}_mask.png"), cv2.IMREAD_UNCHANGED)
        image = cv2.imread(str(photos / f"{name}.png"))
        np.testing.assert_array_equal(mask, np.where(image[..., 0] / 255 >= 0.5, 255, 0))
    assert (out / "results.part-1-of-2.jsonl").exists()
    code, text, _ = finish(*options)
    assert (code, "nothing to do" in text) == (0, True)
    # One process brings all lines together.
    assert not list(out.glob("*part*"))
    again = [json.loads(line)["name"] for line in (out / "results.jsonl").open()]
    assert sorted(again) == sorted(names)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_keep_what_is_done(sent, photos, tmp_path):
    out, lines = tmp_path / "out", tmp_path / "r.jsonl"
    options = (photos, "--out", out, "--json", lines, "--video-out", tmp_path / "v.mp4")
    process = start(*options, seconds=0.05)
    while not lines.exists() or lines.read_bytes().count(b"\n") < 5:
        time.sleep(0.01)
    process.send_signal(sent)
    text, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    names = [json.loads(line)["name"] for line in lines.open()]
    told = re.search(rf"(\d+) of {COUNT} images written to {out}, {lines}, ", text)
    assert int(told[1]) in (len(names) - 1, len(names))  # the signal may come before it is counted
    assert "; interrupted" in text
    assert 5 <= len(names) < COUNT
    assert len(list(out.rglob("*_overlay.png"))) in (len(names), len(names) + 1)
    assert not (tmp_path / "v.mp4").exists()
    assert len(list(open_frames(tmp_path / "v.partial.mp4"))) in (len(names), len(names) + 1)
    code, text, err = finish(*options[:-2], "--resume")
    assert code == 0, err
    assert f"{COUNT - len(names)} of {COUNT - len(names)} images" in text
    assert len({json.loads(line)["name"] for line in lines.open()}) == COUNT
    assert lines.read_bytes().count(b"\n") == COUNT


def test_a_damaged_image_is_reported_everywhere(photos, tmp_path):
    (photos / "day1" / "4.png").write_bytes(b"\x89PNG\r\n\x1a\n rest is missing")
    code, text, err = finish(photos, "--json", tmp_path / "r.jsonl", "--batch-size", 4)
    assert code == 1
    assert f"{COUNT - 1} of {COUNT} images" in text
    assert err.count("ood-seg infer: ") == 1
    assert "day1/4.png" in err
    records = [json.loads(line) for line in (tmp_path / "r.jsonl").open()]
    (failure,) = [record for record in records if "error" in record]
    assert failure["name"] == "day1/4"
    assert len(records) == COUNT


def test_a_name_too_long_for_its_files_is_reported(photos, tmp_path):
    cv2.imwrite(str(photos / ("a" * 250 + ".png")), random_image(0))
    code, text, err = finish(photos, "--out", tmp_path / "out")
    assert (code, f"{COUNT} of {COUNT + 1} images" in text) == (1, True), err
    assert "File name too long" in err


def test_a_damaged_image_does_not_end_the_other_processes(photos, tmp_path):
    """torchrun ends all as soon as one exits with another code than 0."""
    (photos / "day1" / "4.png").write_text("not an image")
    ended = []
    for process in several(2, photos, "--json", tmp_path / "r.jsonl"):
        text, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        ended.append((text, err))
    assert sum("day1/4.png" in err for _, err in ended) == 1
    assert sorted(path.name for path in tmp_path.glob("*.jsonl")) == [
        "r.part-0-of-2.jsonl",
        "r.part-1-of-2.jsonl",
    ]
    records = records_in(tmp_path)
    assert sum("error" in record for record in records) == 1
    assert len({record["name"] for record in records}) == len(records) == COUNT


def test_video_in_video_out_with_the_same_rate_and_number(tmp_path):
    writer = cv2.VideoWriter(
        str(tmp_path / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 12.5, (96, 64)
    )
    for index in range(15):
        frame = np.zeros((64, 96, 3), np.uint8)
        frame[20:40, 5 + 3 * index : 25 + 3 * index] = (230, 200, 10)
        writer.write(frame)
    writer.release()
    options = ("--video-out", tmp_path / "o.mp4", "--json", tmp_path / "o.jsonl", "--track")
    code, _, err = finish(tmp_path / "clip.mp4", *options, "--temporal", "1", "--motion")
    assert code == 0, err
    video = open_frames(tmp_path / "o.mp4")
    assert (video.rate, video.size, len(list(video))) == (12.5, (64, 96), 15)
    records = [json.loads(line) for line in (tmp_path / "o.jsonl").open()]
    assert [record["stamp"] for record in records] == [index / 12.5 for index in range(15)]
    assert records[3]["name"] == "clip/000003"
    # The tracker shows an object from the second frame on, always with one number.
    tracks = [[one["track"] for one in record["instances"]] for record in records]
    assert tracks[0] == []
    assert {len(one) for one in tracks[1:]} == {1}
    assert len({one[0] for one in tracks[1:]}) == 1
    lefts = [record["instances"][0]["box"][0] for record in records[1:]]
    np.testing.assert_allclose(lefts, 5 + 3 * np.arange(1, 15), atol=2)


def test_files_of_a_video_are_not_replaced_by_default(tmp_path):
    writer = cv2.VideoWriter(
        str(tmp_path / "clip.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48)
    )
    for index in range(3):
        writer.write(random_image(index, 48, 64))
    writer.release()
    options = (tmp_path / "clip.avi", "--out", tmp_path / "out", "--save", "mask", "labels")
    assert finish(*options)[0] == 0
    code, text, err = finish(*options)
    assert (code, "3 images" in text) == (2, False)
    assert "2 files exist" in err
    assert "clip/000000_mask.png" in err
    assert finish(*options, "--overwrite")[0] == finish(*options, "--skip-existing")[0] == 0


def test_options_that_exclude_each_other(photos, tmp_path):
    def message(*arguments, environment=None) -> str:
        code, _, err = finish(photos, *arguments, environment=environment)
        assert code == 2 or environment, err
        return err

    assert "--resume: give the folder of the results: --out DIR" in message("--resume")
    together = {"RANK": "0", "WORLD_SIZE": "2"}
    assert "--video-out: 2 processes" in message(
        "--video-out", tmp_path / "v.mp4", environment=together
    )
    for option in ("--resume", "--skip-existing"):
        text = message("--json", tmp_path / "r", "--video-out", tmp_path / "v.mp4", option)
        assert re.search(rf"--video-out: .*{option}.*--overwrite", text)
    text = message("--json", tmp_path / "r", "--max-pixels", "inf")
    assert re.search("--max-pixels: .* inf", text)
    (tmp_path / "r.jsonl").write_text('{"name": "day0/0"}\n')
    assert re.search(r"r\.jsonl exists.*--resume", message("--json", tmp_path / "r.jsonl"))
    assert "water" in message("--json", tmp_path / "r.jsonl", "--overwrite", "--region", "water")
    assert (tmp_path / "r.jsonl").read_text() == '{"name": "day0/0"}\n'
    code, text, _ = finish(photos, "--json", tmp_path / "r.jsonl", "--overwrite")
    assert (code, f"{COUNT} of {COUNT}" in text) == (0, True)


def test_16_bit_scores_are_read_by_evaluate(photos, tmp_path):
    out = tmp_path / "out"
    options = ("--out", out, "--save-scores", "png", "--score-range", "-0.5", "1.5")
    code, _, err = finish(photos / "day0", *options)
    assert code == 0, err
    saved_maps = pytest.importorskip("ood_seg.evaluation.saved_maps")
    scale = saved_maps.read_scale_file(out / "scores" / "scale.json")
    scores = saved_maps.read_scores(out / "scores" / "3.png", saved_maps.MapFormat(**scale))
    expected = cv2.imread(str(photos / "day0" / "3.png"))[..., 0] / 255
    np.testing.assert_allclose(scores, expected, atol=1.01 / 65535)
    assert (out / "3_overlay.png").exists()


def test_outputs_that_cannot_be_written(photos, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    code, _, err = finish(photos, "--out", tmp_path / "file")
    assert (code, "expected a folder, got a file" in err) == (2, True)
    deep = ("--save", "scores-png", "--score-range", "0", "1")
    for options in ((), deep):
        code, _, err = finish(photos, "--out", tmp_path / "file" / "x", *options)
        assert (code, "Not a directory" in err, "Traceback" in err) == (2, True, False)
    code, _, err = finish(photos, "--json", tmp_path / "folder", "--resume")
    assert (code, "cannot be written (Is a directory)" in err) == (2, True)
