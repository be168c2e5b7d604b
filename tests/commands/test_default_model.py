"""`infer` without a model or an output folder: which model it takes, and where results go."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_segmentor import FakeSegmentor

from ood_seg.apis import segmentors
from ood_seg.commands import main
from ood_seg.commands._run_folders import new_run_folder


@pytest.fixture
def loaded(monkeypatch, tmp_path):
    """The models that were loaded, in an empty folder with one image and no model used before."""
    found = []

    def load(model, checkpoint=None, **options):
        found.append((model, checkpoint, options["calibration"]))
        return FakeSegmentor()

    monkeypatch.setattr(segmentors, "load_segmentor", load)
    # The fake model has no probabilities, which a calibration would ask for.
    monkeypatch.setattr("ood_seg.commands.infer.files_to_save", _kinds)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", np.zeros((20, 30, 3), np.uint8))
    return found


def _kinds(args) -> list[str]:
    return args.save or ["overlay"]


def test_nothing_known_is_one_line(loaded, capsys):
    assert main(["infer", "photo.png"]) == 2
    error = capsys.readouterr().err
    for option in ("--onnx", "--config", "--checkpoint", "OOD_SEG_MODEL"):
        assert option in error
    assert loaded == []
    assert not Path("runs").exists()


def test_the_last_used_model_is_taken_again(loaded, tmp_path, monkeypatch, capsys):
    for name in ("net.py", "net.pth", "c.json"):
        (tmp_path / name).touch()
    given = ["--config", "net.py", "--checkpoint", "net.pth", "--calibration", "c.json"]
    assert main(["infer", "photo.png", *given]) == 0
    assert loaded == [("net.py", "net.pth", "c.json")]
    capsys.readouterr()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["infer", str(tmp_path / "photo.png")]) == 0
    net, weights, calibration = (str(tmp_path / name) for name in ("net.py", "net.pth", "c.json"))
    assert loaded[1] == (net, weights, calibration)
    captured = capsys.readouterr()
    assert f"model: {net}, {weights} (the last used)" in captured.err
    assert "1 of 1 images written to runs/infer/1" in captured.out
    # Another calibration of the same model.
    (tmp_path / "d.json").touch()
    assert main(["infer", str(tmp_path / "photo.png"), "--calibration", "../d.json"]) == 0
    assert loaded[2] == (net, weights, "../d.json")
    # `serve` knows it as well.
    monkeypatch.setattr("ood_seg.serving.server.serve", lambda *_, **__: None)
    assert main(["serve"]) == 0
    assert loaded[3] == (net, weights, str(tmp_path / "d.json"))
    # A model that is given brings nothing of the last one.
    assert main(["infer", str(tmp_path / "photo.png"), "--onnx", "new.onnx"]) == 0
    assert loaded[4] == ("new.onnx", None, None)


def test_a_model_that_is_gone_is_named(loaded, tmp_path, capsys):
    (tmp_path / "net.onnx").touch()
    assert main(["infer", "photo.png", "--onnx", "net.onnx"]) == 0
    (tmp_path / "net.onnx").unlink()
    assert main(["infer", "photo.png"]) == 2
    assert f"onnx {tmp_path / 'net.onnx'} does not exist" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "[]", '{"config": 3}', "\udcff"])
def test_a_damaged_state_counts_as_none(loaded, tmp_path, content, capsys):
    file = tmp_path / "state" / "ood_seg" / "model.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert main(["infer", "photo.png"]) == 2
    assert "no model is given" in capsys.readouterr().err


def test_a_state_that_cannot_be_written_does_not_matter(loaded, tmp_path):
    (tmp_path / "state").write_text("a file", encoding="utf-8")
    assert main(["infer", "photo.png", "--onnx", "net.onnx"]) == 0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("net.onnx", ("net.onnx", None)),
        ("energy_fcn-erfnet_cityscapes", ("energy_fcn-erfnet_cityscapes", None)),
        ("run/iter_4.pth", ("run/mine.py", "run/iter_4.pth")),
    ],
)
def test_the_variable(loaded, tmp_path, monkeypatch, value, expected, capsys):
    (tmp_path / "run").mkdir()
    for name in ("iter_4.pth", "mine.py"):
        (tmp_path / "run" / name).touch()
    # It comes before the last used model.
    assert main(["infer", "photo.png", "--onnx", "last.onnx"]) == 0
    monkeypatch.setenv("OOD_SEG_MODEL", value)
    assert main(["infer", "photo.png"]) == 0
    assert loaded[1][:2] == expected
    assert "(OOD_SEG_MODEL)" in capsys.readouterr().err
    assert main(["infer", "photo.png", "--onnx", "given.onnx"]) == 0
    assert loaded[2][0] == "given.onnx"


@pytest.mark.parametrize("other", ["--config", "--checkpoint"])
def test_two_models_are_refused(loaded, other, capsys):
    assert main(["infer", "photo.png", "--onnx", "a.onnx", other, "b"]) == 2
    error = capsys.readouterr().err
    assert "--onnx a.onnx" in error
    assert other in error


def test_each_run_gets_the_next_number(loaded, capsys):
    model = ["--onnx", "net.onnx"]
    for number in ("1", "2"):
        assert main(["infer", "photo.png", *model]) == 0
        assert Path("runs/infer", number, "photo_overlay.png").is_file()
        assert f"runs/infer/{number}" in capsys.readouterr().out
    shutil.rmtree("runs/infer/1")
    assert main(["infer", "photo.png", *model]) == 0
    assert sorted(os.listdir("runs/infer")) == ["2", "3"]
    # A run without results leaves no folder, one with a place of its own makes none.
    assert main(["infer", "missing.png", *model]) == 2
    assert main(["infer", "photo.png", *model, "--out", "out"]) == 0
    assert main(["infer", "photo.png", *model, "--json", "lines.jsonl"]) == 0
    assert sorted(os.listdir("runs/infer")) == ["2", "3"]
    assert main(["infer", "photo.png", *model, "--save", "labels"]) == 0
    assert Path("runs/infer/4/photo_labels.png").is_file()


def test_a_video_gives_a_video(loaded, tmp_path):
    writer = cv2.VideoWriter("drive.avi", cv2.VideoWriter_fourcc(*"MJPG"), 5, (32, 16))
    for _ in range(3):
        writer.write(np.zeros((16, 32, 3), np.uint8))
    writer.release()
    assert main(["infer", "drive.avi", "--onnx", "net.onnx"]) == 0
    assert os.listdir("runs/infer/1") == ["drive.mp4"]
    assert main(["infer", "drive.avi", "--onnx", "net.onnx", "--save", "labels"]) == 0
    assert len(list(Path("runs/infer/2").rglob("*_labels.png"))) == 3


@pytest.mark.parametrize("source", ["0", "rtsp://camera/1"])
def test_a_source_that_may_never_end_needs_a_choice(loaded, source, capsys):
    assert main(["infer", source, "--onnx", "net.onnx"]) == 2
    assert "--out DIR" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--resume", "--skip-existing"])
def test_earlier_results_need_their_folder(loaded, option, capsys):
    assert main(["infer", "photo.png", "--onnx", "net.onnx", option]) == 2
    error = capsys.readouterr().err
    assert f"{option}: give the folder of the results" in error


def test_several_processes_need_one_folder(loaded, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ValueError, match="2 processes: give the folder"):
        main(["infer", "photo.png", "--onnx", "net.onnx"])


def test_folders_of_runs_at_the_same_time_differ(tmp_path):
    def claim(_):
        with new_run_folder(tmp_path / "runs") as folder:
            (folder / "result").touch()
            return int(folder.name)

    with ThreadPoolExecutor(16) as pool:
        numbers = list(pool.map(claim, range(64)))
    assert sorted(numbers) == list(range(1, 65))


def test_outputs_and_numbers_in_the_summary(loaded, tmp_path):
    Path("cut.png").write_bytes(Path("photo.png").read_bytes()[:40])
    options = ["--onnx", "net.onnx", "--json-summary", "end.json"]
    assert main(["infer", "photo.png", "cut.png", *options]) == 1
    found = json.loads(Path("end.json").read_text(encoding="utf-8"))
    assert found["outputs"] == [str(tmp_path / "runs/infer/1")]
    assert found["numbers"] == {"images": 2, "written": 1, "failed": 1, "failed_before": 0}
    assert (found["command"], found["status"]) == ("infer", "incomplete")
