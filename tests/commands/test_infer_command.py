"""`ood-seg infer` and the inferencer behind it."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("mmseg")
from mmengine.config import Config
from tiny_job import HEIGHT, WIDTH

from ood_seg.apis import AnomalyInferencer
from ood_seg.calibration import calibrate
from ood_seg.commands import main
from ood_seg.commands.infer import parse_range
from ood_seg.io.map_origins import MapOrigin, read_origin
from ood_seg.io.provenance import file_sha256
from ood_seg.metrics import ScoreHistogram


def infer(job, source, out, *extra) -> int:
    options = ["--config", job.config, "--checkpoint", job.weights, "--out", out, *extra]
    return main(["infer", str(source), *map(str, options)])


@pytest.fixture(scope="module")
def inferencer(job):
    return AnomalyInferencer(job.config, job.weights, device="cpu")


def test_result_has_the_size_of_the_image(inferencer, job):
    result = inferencer(job.folder / "images" / "0.png")
    assert result.labels.shape == result.anomaly.shape == (HEIGHT, WIDTH)
    assert result.labels.dtype == np.uint8
    assert result.anomaly.dtype == np.float32
    assert result.labels.max() < 3
    assert inferencer.palette.classes == ("road", "sky", "car")
    assert inferencer.palette.colours[0] == (128, 64, 128)


def test_path_and_array_agree_and_equal_the_test_command(inferencer, job, tmp_path):
    path = job.folder / "images" / "1.png"
    from_path, from_array = inferencer(path), inferencer(cv2.imread(str(path)))
    np.testing.assert_array_equal(from_path.anomaly, from_array.anomaly)
    arguments = ["--work-dir", tmp_path, "--sets", "anomalies", "--out", tmp_path / "scores"]
    assert main(["test", *map(str, (job.config, job.weights, *arguments))]) == 0
    tested = np.load(tmp_path / "scores" / "anomalies" / "1.npy")
    np.testing.assert_allclose(from_path.anomaly, tested, rtol=1e-5, atol=1e-5)


def test_bad_arrays_are_refused(inferencer):
    with pytest.raises(ValueError, match=r"three colour channels, got one \(shape \(4, 5\)\)"):
        inferencer(np.zeros((4, 5), np.uint8))


def test_errors_name_what_is_missing(job):
    with pytest.raises(ValueError, match="load_from"):
        AnomalyInferencer(job.config)
    with pytest.raises(ValueError, match="'tpu9'"):
        AnomalyInferencer(job.config, job.weights, device="tpu9")
    cfg = Config.fromfile(job.config)
    cfg.model.type = "EncoderDecoder"
    cfg.model.pop("energy_head")
    with pytest.raises(ValueError, match="OODEncoderDecoder"):
        AnomalyInferencer(cfg, job.weights)


def test_a_folder_gives_a_figure_and_scores_for_each_image(job, tmp_path, inferencer, capsys):
    options = ("--save", "anomaly", "--save-scores")
    assert infer(job, job.folder / "images", tmp_path, *options) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    expected = [f"{i}_{kind}" for i in range(3) for kind in ("anomaly.png", "scores.npy")]
    assert names == [*expected, "provenance.json"]
    scores = np.load(tmp_path / "2_scores.npy")
    assert (scores.shape, scores.dtype) == ((HEIGHT, WIDTH), np.float32)
    np.testing.assert_array_equal(scores, inferencer(job.folder / "images" / "2.png").anomaly)
    figure = cv2.imread(str(tmp_path / "2_anomaly.png"))
    # Three panels side by side, none of them black although all scores are negative.
    assert scores.max() < 0
    assert figure.shape[1] > 2.5 * figure.shape[0]
    third = figure[:, figure.shape[1] * 7 // 10 : figure.shape[1] * 9 // 10]
    assert third.max(axis=2).std() > 20
    assert "3 of 3 images" in capsys.readouterr().out


def test_existing_files_are_kept_by_default(job, tmp_path, capsys):
    source = job.folder / "images"
    assert infer(job, source, tmp_path) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    capsys.readouterr()
    assert infer(job, source, tmp_path) == 2
    message = capsys.readouterr().err
    assert "3 files exist" in message
    assert "0_overlay.png" in message
    (tmp_path / "1_overlay.png").unlink()
    assert infer(job, source, tmp_path, "--skip-existing") == 0
    after = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    changed = {path.name for path in before if before[path] != after[path]}
    assert changed == {"1_overlay.png"}
    assert infer(job, source, tmp_path, "--overwrite") == 0
    assert all(path.stat().st_mtime_ns > before[path] for path in before)


def test_a_bad_image_is_reported_and_the_others_are_analysed(job, tmp_path, capsys):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    content = (job.folder / "images" / "0.png").read_bytes()
    (source / "good.png").write_bytes(content)
    (source / "cut.png").write_bytes(content[: len(content) // 2])
    assert infer(job, source, out) == 1
    captured = capsys.readouterr()
    assert str(source / "cut.png") in captured.err
    assert "1 of 2 images" in captured.out
    assert [path.name for path in out.iterdir()] == ["good_overlay.png"]


def test_output_folders_mirror_the_input_and_are_not_searched(job, tmp_path, capsys):
    content = (job.folder / "images" / "0.png").read_bytes()
    for name in ("a.png", "a.bmp", "city/b.png", ".hidden/c.png", "out/old_anomaly.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    out = tmp_path / "out"
    assert infer(job, tmp_path, out, "--save", "labels") == 0
    written = {path.relative_to(out).as_posix() for path in out.rglob("*_labels.png")}
    assert written == {"a.png_labels.png", "a.bmp_labels.png", "city/b_labels.png"}
    assert "3 of 3 images" in capsys.readouterr().out


def test_bad_arguments_are_refused_before_the_model_is_loaded(job, tmp_path, capsys):
    def refusal(source, *extra) -> str:
        assert infer(job, source, tmp_path / "out", "--checkpoint", "nowhere.pth", *extra) == 2
        return capsys.readouterr().err

    assert "nowhere does not exist" in refusal(tmp_path / "nowhere")
    (tmp_path / "in").mkdir()
    assert "no images in" in refusal(tmp_path / "in")
    (tmp_path / "out").mkdir()
    assert f"{tmp_path / 'out'} is both input and output" in refusal(tmp_path / "out")
    assert "--score-range" in refusal(tmp_path, "--save-scores", "png")


def test_score_range():
    assert parse_range(["auto"]) is None
    assert parse_range(["-12", "-3.5"]) == (-12.0, -3.5)
    for wrong in (["1"], ["3", "1"], ["a", "b"], ["0", "nan"], ["1", "2", "3"]):
        with pytest.raises(ValueError, match="--score-range"):
            parse_range(wrong)


@pytest.fixture(scope="module")
def calibration(inferencer, job, tmp_path_factory):
    """Calibration of the tiny model, on its own scores and a made-up truth; saved."""
    histograms = []
    for path in sorted((job.folder / "images").iterdir()):
        scores = inferencer(path).anomaly
        noise = np.random.default_rng(0).normal(size=scores.shape) * scores.std()
        histograms.append(ScoreHistogram.from_scores(scores, scores + noise > scores.mean()))
    made = calibrate(
        histograms,
        score="Energy",
        data_set="tiny",
        points=["fpr 10%", "tpr 80%"],
        checkpoint_sha256=file_sha256(job.weights),
    )
    path = tmp_path_factory.mktemp("calibration") / "energy.json"
    made.save(path)
    return made, path


def test_inferencer_reads_a_calibration(calibration, inferencer, job):
    made, path = calibration
    image = job.folder / "images" / "0.png"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the calibration")
        calibrated = AnomalyInferencer(job.config, job.weights, "cpu", path, "tpr 80%")
    result, plain = calibrated(image), inferencer(image)
    assert plain.probability is None
    assert plain.mask is None
    np.testing.assert_array_equal(result.anomaly, plain.anomaly)
    expected = 1 / (1 + np.exp(-made.curve.slope * plain.anomaly - made.curve.offset))
    np.testing.assert_allclose(result.probability, expected, atol=1e-5)
    assert (result.probability.dtype, result.mask.dtype) == (np.float32, np.uint8)
    flagged = plain.anomaly >= np.float32(made.point("tpr 80%").threshold)
    np.testing.assert_array_equal(result.mask, flagged.astype(np.uint8))
    assert 0 < flagged.mean() < 1
    first = AnomalyInferencer(job.config, job.weights, "cpu", calibration=made)
    assert first.operating_point == "fpr 10%"


def test_a_calibration_that_does_not_fit_is_refused(calibration, job, tmp_path):
    from dataclasses import replace

    made, _ = calibration
    other = replace(made, score="Entropy")
    with pytest.raises(ValueError, match="for the score 'Entropy', but the scores are 'Energy'"):
        AnomalyInferencer(job.config, job.weights, "cpu", other)
    with pytest.raises(ValueError, match=r"operating point 'best f1'.*fpr-10%"):
        AnomalyInferencer(job.config, job.weights, "cpu", made, "best f1")
    with pytest.raises(ValueError, match=r"operating point 'best f1'.*calibration"):
        AnomalyInferencer(job.config, job.weights, "cpu", operating_point="best f1")
    foreign = replace(made, model="other.pth", checkpoint_sha256="0" * 64)
    message = (
        rf"another checkpoint.*other\.pth.*000000000000.*{Path(job.weights).name}.*[0-9a-f]{{12}}"
    )
    with pytest.raises(ValueError, match=rf"{message}.*--allow-other-model"):
        AnomalyInferencer(job.config, job.weights, "cpu", foreign)
    with pytest.warns(UserWarning, match=message):
        AnomalyInferencer(job.config, job.weights, "cpu", foreign, allow_other_model=True)


def test_saved_scores_name_their_model(job, tmp_path, capsys):
    options = ["--save", "scores", "scores-png", "--score-range", "-20", "5"]
    image = job.folder / "images" / "1.png"
    assert infer(job, image, tmp_path, *options) == 0
    digest = file_sha256(job.weights)
    for folder in (tmp_path, tmp_path / "scores"):
        origin = read_origin(folder)
        assert (origin.score, origin.model) == ("Energy", str(job.weights))
        assert origin.checkpoint_sha256 == digest
    MapOrigin("Energy", "other.pth", "0" * 64).write(tmp_path)
    capsys.readouterr()
    other = job.folder / "images" / "2.png"
    assert infer(job, other, tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert "other.pth" in error
    assert digest[:12] in error
    assert infer(job, other, tmp_path, *options, "--overwrite") == 0
    assert read_origin(tmp_path).checkpoint_sha256 == digest


def test_calibrated_run_writes_probability_and_mask(calibration, job, tmp_path, capsys):
    made, path = calibration
    options = ["--calibration", path, "--operating-point", "tpr 80%", "--save-scores"]
    assert infer(job, job.folder / "images" / "1.png", tmp_path, *options) == 0
    (_, first, _) = capsys.readouterr().out.splitlines()
    assert "tpr-80%" in first
    assert first.endswith(f" {made.point('tpr 80%').threshold:.6g}")
    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == [
        *("1_mask.png", "1_overlay.png", "1_probability.npy", "1_scores.npy"),
        "provenance.json",
    ]
    scores = np.load(tmp_path / "1_scores.npy")
    probability = np.load(tmp_path / "1_probability.npy")
    np.testing.assert_array_equal(probability, made.probability(scores))
    mask = cv2.imread(str(tmp_path / "1_mask.png"), cv2.IMREAD_UNCHANGED)
    flagged = scores >= np.float32(made.point("tpr 80%").threshold)
    np.testing.assert_array_equal(mask, np.where(flagged, 255, 0))
    assert mask.dtype == np.uint8


def test_a_missing_mask_is_written_again(calibration, job, tmp_path):
    options = ["--calibration", calibration[1]]
    source = job.folder / "images" / "1.png"
    assert infer(job, source, tmp_path, *options) == 0
    (tmp_path / "1_mask.png").unlink()
    assert infer(job, source, tmp_path, "--skip-existing", *options) == 0
    assert (tmp_path / "1_mask.png").exists()
