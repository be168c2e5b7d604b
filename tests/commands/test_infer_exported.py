"""`ood-seg infer --onnx` where torch, mmseg, matplotlib, pillow and rich cannot be imported."""

from __future__ import annotations

import json
import re
import subprocess

import cv2
import numpy as np
import pytest
from blocking import run_blocked

pytest.importorskip("mmseg")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from ood_seg.commands import main

BLOCKED = {"torch", "mmengine", "mmseg", "mmcv", "matplotlib", "PIL", "rich", "rosbags"}
PROGRAM = """
import sys
from ood_seg.commands import main
sys.exit(main(["infer", *sys.argv[1:]]))
"""


@pytest.fixture(scope="module")
def exported(job, tmp_path_factory):
    """The tiny model as ONNX."""
    path = tmp_path_factory.mktemp("exported") / "tiny.onnx"
    assert main(["export-onnx", str(job.config), str(job.weights), str(path)]) == 0
    return path


def infer(*arguments) -> subprocess.CompletedProcess:
    return run_blocked(BLOCKED, PROGRAM, *arguments)


def test_same_scores_and_labels_as_with_torch(exported, job, tmp_path):
    images = job.folder / "images"
    options = ("--save", "scores", "labels", "overlay", "--operating-point", "-1.1")
    run = infer(images, "--onnx", exported, "--out", tmp_path / "onnx", *options)
    assert run.returncode == 0, run.stderr
    assert "3 of 3 images" in run.stdout
    config = ("--config", job.config, "--checkpoint", job.weights)
    arguments = [images, *config, "--out", tmp_path / "torch", *options]
    assert main(["infer", *map(str, arguments)]) == 0
    for index in range(3):
        files = [tmp_path / kind / f"{index}_scores.npy" for kind in ("onnx", "torch")]
        np.testing.assert_allclose(*map(np.load, files), atol=1e-4)
        files_of_labels = [file.with_name(f"{index}_labels.png") for file in files]
        one, other = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in files_of_labels)
        assert (one == other).mean() > 0.999
        assert (tmp_path / "onnx" / f"{index}_overlay.png").exists()


def test_options_of_the_other_runtime_are_refused(exported, job, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))  # no model was used before
    images, lines = job.folder / "images", tmp_path / "r.jsonl"
    run = infer(images, "--onnx", exported, "--json", lines, "--smoothing", "7", "1.0")
    assert run.returncode == 2
    assert re.search("--smoothing .*export-onnx", run.stderr)
    run = infer(images, "--onnx", exported, "--config", job.config, "--json", lines)
    assert re.search("--onnx .*--config", run.stderr)
    run = infer(images, "--json", lines)
    assert re.search("--onnx .*--config .*--checkpoint .*OOD_SEG_MODEL", run.stderr)


def test_a_file_of_another_program_is_refused(tmp_path, job):
    (tmp_path / "other.onnx").write_bytes(b"something else")
    run = infer(job.folder / "images", "--onnx", tmp_path / "other.onnx", "--out", tmp_path / "o")
    assert run.returncode == 2
    assert "other.onnx" in run.stderr
    assert "Traceback" not in run.stderr


def test_road_and_smallest_area_reach_the_model(exported, job, tmp_path):
    image, lines = job.folder / "images" / "0.png", tmp_path / "r.jsonl"

    def objects(*options) -> list:
        run = infer(image, "--onnx", exported, "--json", lines, "--overwrite", *options)
        assert run.returncode == 0, run.stderr
        (line,) = lines.read_text().splitlines()
        return json.loads(line)["instances"]

    everything = objects("--operating-point", "-1000", "--min-area", "1")
    assert [one["area"] for one in everything] == [37 * 53]
    assert objects("--operating-point", "-1000", "--min-area", str(37 * 53 + 1)) == []
    half = objects("--operating-point", "-1000", "--region", "polygon:0,0;25,0;25,36;0,36")
    assert [one["box"] for one in half] == [[0, 0, 26, 37]]
    run = infer(image, "--onnx", exported, "--json", lines, "--overwrite", "--region", "water")
    assert re.search("region: .*road, sky, car.*'water'", run.stderr)
    run = infer(image, "--onnx", exported, "--json", lines, "--overwrite", "--road")
    assert run.returncode == 0, run.stderr


def test_outputs_that_the_model_cannot_give_are_refused_first(exported, job, tmp_path):
    for option, needs in ((["mask"], "a threshold"), (["probability"], "a calibration")):
        out = tmp_path / "out"
        run = infer(job.folder / "images", "--onnx", exported, "--out", out, "--save", *option)
        assert (run.returncode, run.stderr.count("ood-seg infer:")) == (2, 1), run.stderr
        assert f"--save {option[0]} needs {needs}" in run.stderr
    run = infer(job.folder / "images", "--onnx", exported, "--json", tmp_path / "r", "--track")
    assert "--track needs a threshold" in run.stderr


def test_a_run_that_failed_at_its_start_does_not_block_the_next(exported, job, tmp_path):
    lines = tmp_path / "r.jsonl"
    run = infer(job.folder / "images", "--onnx", tmp_path / "no.onnx", "--json", lines)
    assert run.returncode == 2
    run = infer(job.folder / "images", "--onnx", exported, "--json", lines)
    assert run.returncode == 0, run.stderr
    assert "no mask and no objects" in run.stdout
