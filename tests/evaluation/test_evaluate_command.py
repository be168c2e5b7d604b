"""`ood-seg evaluate`: from two folders to a table, evaluation.json and reports."""

from __future__ import annotations

import errno
import json
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from blocking import run_blocked
from map_folders import SHAPE, write_labels, write_maps
from PIL import Image

from ood_seg.commands import main
from ood_seg.evaluation.saved_maps import MapReader
from ood_seg.io.files import claimed
from ood_seg.metrics import pixel_metrics
from ood_seg.reports import write_reports


@pytest.fixture
def folders(tmp_path):
    return write_maps(tmp_path)


def run(folders, *options, scores=None):
    arguments = [scores or folders.scores, folders.truth, "--out", folders.scores.parent / "out"]
    return main(["evaluate", *map(str, [*arguments, *options])])


def written(folders):
    text = (folders.scores.parent / "out" / "evaluation.json").read_text()
    return json.loads(text, parse_constant=pytest.fail)  # neither NaN nor Infinity


def test_from_folders_to_reports(folders, capsys):
    assert run(folders, "--method", "drawn", "--data-set", "Frames", "--samples", 20) == 0
    content, output = written(folders), capsys.readouterr().out
    expected = pixel_metrics(folders.all_scores(), folders.all_labels(), best_f1=True)
    assert content["schema"] == "ood_seg.evaluation/1"
    assert content["method"] == "drawn"
    assert content["data_set"] == "Frames"
    assert content["num_images"] == 6
    assert content["best_f1_threshold"] == expected.pop("best_f1_threshold")
    assert {n: e["value"] for n, e in content["metrics"].items()} == pytest.approx(expected)
    assert f"{100 * expected['ap']:.2f}" in output
    for text in (
        "drawn on Frames",
        "images: 6",
        "protocol: pooled",
        "computation: exact",
        "seed: 0",
    ):
        assert text in output
    out = folders.scores.parent / "out"
    assert {"report.html", "report.md", "metrics.csv"} <= {path.name for path in out.iterdir()}
    assert f"written to {out}: evaluation.json, report.html" in output


def test_default_names_and_folder(folders, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "scores", "masks", "--samples", "0"]) == 0
    assert (tmp_path / "work_dirs/evaluate/scores_masks/evaluation.json").is_file()


def test_second_run_counts_reused_images(folders, capsys):
    run(folders, "--samples", 0)
    assert "images reused" not in capsys.readouterr().out
    run(folders, "--samples", 0)
    assert "6 of 6 images reused" in capsys.readouterr().out


def test_interrupted_and_run_again(folders, monkeypatch, capsys):
    read, calls = MapReader.read, []
    monkeypatch.setattr(  # the page reads maps as well
        "ood_seg.reports.write_reports",
        lambda content, folder: write_reports(content, folder, ("json",)),
    )

    def interrupted(self, scores, truth):
        calls.append(scores.stem)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return read(self, scores, truth)

    options = ("--samples", 0, "--mode", "streaming", "--components", "none")
    options = (*options, "--fit-curve", "none", "--workers", 1)
    with monkeypatch.context() as patch:
        patch.setattr(MapReader, "read", interrupted)
        assert run(folders, *options) == 130
    assert "interrupted" in capsys.readouterr().err
    calls.clear()
    monkeypatch.setattr(
        MapReader, "read", lambda self, *files: calls.append(files[0].stem) or read(self, *files)
    )
    assert run(folders, *options) == 0
    reused = int(re.search(r"(\d) of 6 images reused", capsys.readouterr().out)[1])
    assert 3 <= reused < 6
    assert sorted(calls) == sorted(folders.maps)
    assert calls[-reused:][:3] == ["frame_00", "frame_01", "frame_02"], "for the ranks, last"
    assert written(folders)["num_images"] == 6


def test_options_reach_the_evaluation(folders, capsys):
    options = ["--protocol", "pebal", "--components", "obstacle", "--calibration", "isotonic"]
    assert run(folders, *options, "--tpr", 0.9, "--negate", "--seed", 5) == 0
    content = written(folders)
    assert content["protocol"]["name"] == "pebal"
    assert content["components"]["track"] == "obstacle"
    assert content["seed"] == 5
    assert content["metrics"]["auroc"]["value"] < 0.3
    assert "fpr90" in content["metrics"]
    assert "far below 0.5" in capsys.readouterr().out


def test_memory_decides_about_the_mode(folders, capsys):
    assert run(folders, "--memory", 1e-6, "--samples", 0) == 0
    content = written(folders)
    assert content["mode"] == "streaming"
    low, high = content["metrics"]["ap"]["bounds"]
    assert low <= pixel_metrics(folders.all_scores(), folders.all_labels())["ap"] <= high
    assert "computation: streaming" in capsys.readouterr().out


def test_compare(folders, tmp_path, capsys):
    for name, (scores, labels) in folders.maps.items():
        (tmp_path / "other").mkdir(exist_ok=True)
        np.save(tmp_path / "other" / f"{name}.npy", scores - (labels == 1))
    options = ("--compare", tmp_path / "other", "--compare-method", "worse", "--samples", 50)
    assert run(folders, *options) == 0
    comparison = written(folders)["comparison"]
    assert comparison["method"] == "worse"
    assert comparison["metrics"]["auroc"]["difference"] < 0
    output = capsys.readouterr()
    assert "worse minus scores" in output.out
    assert "--maps NAME=FOLDER" in output.err
    assert [one["method"] for one in written(folders)["others"]] == ["worse"]


def test_each_of_two_methods_has_its_own_scale(folders, tmp_path):
    # Both stored the same values, by another scale.
    for kind, scale in (("first", 0.001), ("second", 0.0005)):
        (tmp_path / kind).mkdir()
        for name, (scores, _) in folders.maps.items():
            stored = np.round((np.round(scores, 3).astype(np.float64) + 10) / scale)
            Image.fromarray(stored.astype(np.uint16)).save(tmp_path / kind / f"{name}.png")
        (tmp_path / kind / "scale.json").write_text(f'{{"scale": {scale}, "offset": -10}}')
    options = ("--maps", f"second={tmp_path / 'second'}", "--samples", 5)
    assert run(folders, *options, scores=tmp_path / "first") == 0
    histograms = [
        np.load(folders.scores.parent / "out" / kind / "pixels" / "frame_00.npz")["lowest"]
        for kind in ("partial", "partial-second")
    ]
    assert np.array_equal(*histograms)


def test_ground_truth_of_other_values_and_scaled_png(folders, tmp_path):
    scores = tmp_path / "png"
    scores.mkdir()
    for name, (values, labels) in folders.maps.items():
        stored = np.round((values.astype(np.float64) + 10) * 1000).astype(np.uint16)
        Image.fromarray(stored).save(scores / f"{name}.png")
        training = np.select([labels == 1, labels == 255], [254, 255], 7)
        write_labels(folders.truth / f"{name}_labels.png", training)
    (scores / "scale.json").write_text('{"scale": 0.001, "offset": -10}')
    assert run(folders, "--training-labels", 19, "--samples", 0, scores=scores) == 0
    expected = pixel_metrics(folders.all_scores(), folders.all_labels(), best_f1=True)
    content = written(folders)
    assert content["metrics"]["ap"]["value"] == pytest.approx(expected["ap"])
    assert content["best_f1_threshold"] == pytest.approx(expected["best_f1_threshold"])


def test_closed_set(folders, tmp_path):
    for kind in ("predicted", "known"):
        (tmp_path / kind).mkdir()
        for name in folders.maps:
            write_labels(tmp_path / kind / f"{name}.png", np.full(SHAPE, 3))
    options = ["--predicted-labels", tmp_path / "predicted", "--known-labels", tmp_path / "known"]
    assert run(folders, *options, "--samples", 0) == 0
    closed = written(folders)["closed_set"]
    assert closed["miou"] == 1
    assert 0 < closed["open_iou"] < 1


class TestDiskAndFiles:
    @pytest.mark.parametrize("name", ["frame_03.npz", "evaluation.json", "report.html"])
    def test_a_full_disk_is_one_line_and_nothing_is_half_written(
        self, folders, capsys, monkeypatch, name
    ):
        replace = os.replace

        def full(source, target):
            if Path(target).name == name:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as write() gives it
            replace(source, target)

        monkeypatch.setattr(os, "replace", full)
        assert run(folders, "--samples", 0) == 2
        (line, hint) = capsys.readouterr().err.strip().splitlines()
        assert "No space left on device" in line
        assert name in line
        assert "--debug" in hint
        out = folders.scores.parent / "out"
        assert not [path for path in out.rglob("*") if ".part" in path.name or path.name == name]
        monkeypatch.undo()
        assert run(folders, "--samples", 0) == 0

    @pytest.mark.parametrize("below", [False, True])
    def test_an_impossible_output_ends_it_before_the_maps_are_read(self, folders, capsys, below):
        out = folders.scores.parent / "file"
        out.touch()
        for path in folders.scores.iterdir():
            path.write_bytes(b"never read")
        assert run(folders, "--out", out / "below" if below else out) == 2
        assert str(out) in capsys.readouterr().err
        assert not out.read_bytes()

    def test_names_that_no_file_has(self, folders, capsys):
        name = "x" * 5000
        for options in (["--out", name], ["--images", name], ["--compare", name]):
            assert run(folders, "--samples", 0, *options) == 2
            assert name in capsys.readouterr().err
        assert run(folders, scores=name) == 2
        assert name in capsys.readouterr().err

    @pytest.mark.parametrize(("reading", "mode"), [(1, "exact"), (2, "streaming")])
    def test_maps_that_vanish_are_named(self, folders, capsys, monkeypatch, reading, mode):
        read, gone = MapReader.read, ("frame_02.npy", "frame_04.npy")
        seen = Counter()

        def vanishing(reader, scores, truth):
            seen[scores.name] += 1
            if scores.name in gone and seen[scores.name] == reading:
                scores.unlink()
            return read(reader, scores, truth)

        monkeypatch.setattr(MapReader, "read", vanishing)
        assert run(folders, "--samples", 0, "--mode", mode) == 2
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert all(name in error for name in gone)

    def test_a_second_process_is_refused_while_one_writes(self, folders, capsys):
        with claimed(folders.scores.parent / "out" / "evaluation.json"):
            assert run(folders, "--samples", 0) == 2
        assert "being written by another process" in capsys.readouterr().err


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--protocol", "nope"], "available: pooled, per-image"),
            (["--label-map", "0=0"], "FROM:TO"),
            (["--label-map", "0:0", "1:7"], "label_map"),
            (["--scale", "-1"], "scale must be above 0"),
            (["--select-fraction", "1"], "below 1"),
            (["--known-labels", "x"], "both predicted_labels and known_labels, got only x"),
            (["--workers", "0"], "workers"),
        ],
    )
    def test_options(self, folders, capsys, options, message):
        assert run(folders, *options) == 2
        assert message in capsys.readouterr().err

    def test_folder_that_is_not_there(self, folders, capsys, tmp_path):
        assert run(folders, scores=tmp_path / "nowhere") == 2
        assert "nowhere does not exist" in capsys.readouterr().err

    def test_maps_without_partner(self, folders, capsys):
        (folders.scores / "frame_00.npy").unlink()
        assert run(folders) == 2
        assert "frame_00_labels.png" in capsys.readouterr().err
        assert run(folders, "--allow-missing", "--samples", 0) == 0
        content = written(folders)
        assert content["num_images"] == 5
        assert any("left out: 1 ground truth" in note for note in content["notes"])

    def test_bad_maps(self, folders, capsys):
        np.save(folders.scores / "frame_01.npy", np.full(SHAPE, np.nan))
        np.save(folders.scores / "frame_02.npy", np.zeros((3, 3)))
        assert run(folders) == 2
        error = capsys.readouterr().err
        assert "2 images cannot be evaluated" in error
        assert "frame_01.npy" in error
        assert "frame_02.npy" in error


def test_works_without_mmseg(folders):
    program = """
import sys
from ood_seg.commands import main
sys.exit(main(["evaluate", *sys.argv[1:], "--samples", "5"]))
"""
    out = folders.scores.parent / "out"
    blocked = {"mmseg", "mmengine", "mmcv", "sklearn"}
    finished = run_blocked(blocked, program, folders.scores, folders.truth, "--out", out)
    assert finished.returncode == 0, finished.stderr
    assert (out / "evaluation.json").is_file()
