"""`ood-seg calibrate CONFIG [CHECKPOINT]`: a model run over images; and who uses the file."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest

pytest.importorskip("mmseg")

from ood_seg.apis import AnomalyInferencer
from ood_seg.calibration import Calibration, calibrate, with_false_alarms
from ood_seg.commands import main
from ood_seg.config_files import load_config
from ood_seg.io.images import read_image
from ood_seg.io.provenance import file_sha256
from ood_seg.metrics import ScoreHistogram


def run(*arguments) -> int:
    return main(["calibrate", *map(str, arguments)])


@pytest.fixture(scope="module")
def own_scores(job):
    """Scores of the images of the job, as `infer` computes them, with all pixels known."""
    model = AnomalyInferencer(str(job.config), str(job.weights), "cpu", calibration=False)
    images = sorted((job.config.parent / "images").iterdir())
    maps = [one.anomaly for one in model.predict([read_image(path) for path in images])]
    return [(scores, np.zeros(scores.shape, np.uint8)) for scores in maps]


def test_known_images_alone_give_the_points_of_their_scores(job, own_scores, tmp_path, capsys):
    out = tmp_path / "c.json"
    images = job.config.parent / "images"
    options = ["--images", images, "--file", out, "--min-area", "2", "--points", "fpr-10%"]
    assert run(job.config, job.weights, *options) == 0
    made = Calibration.load(out, score="Energy")
    expected = calibrate(
        [ScoreHistogram.from_scores(*one) for one in own_scores],
        score="Energy",
        data_set="images",
        method=None,
        points=["fpr 10%"],
    )
    expected = with_false_alarms(expected, own_scores, min_area=2).point("fpr 10%")
    found = made.point("fpr-10%")
    assert found.threshold == pytest.approx(expected.threshold, rel=1e-5)
    assert found.fpr == pytest.approx(expected.fpr, abs=1e-3)
    assert found.false_alarms_per_image == pytest.approx(expected.false_alarms_per_image, abs=0.4)
    assert (made.num_images, made.pixels.known) == (3, 3 * own_scores[0][0].size)
    assert (made.model, made.checkpoint_sha256) == (job.weights.name, file_sha256(job.weights))
    assert made.setup["pipeline"][0]["scale"] == [48, 32]
    assert made.curve is None
    assert "no probability" in " ".join(capsys.readouterr().out.split())


def test_a_dataset_of_the_config_is_found_and_its_labels_count(job, tmp_path, capsys):
    assert run(job.config, job.weights, "--file", tmp_path / "c.json", "--num-images", 2) == 0
    made = Calibration.load(tmp_path / "c.json")
    assert (made.data_set, made.num_images, made.pixels.anomalous) == ("street", 2, 0)
    options = ["--set", "anomalies", "--dataset", "noise", "--file", tmp_path / "d.json"]
    options += ["--fit-curve", "isotonic"]  # noise need not rise with the score
    assert run(job.config, "--checkpoint", job.weights, *options) == 0
    made = Calibration.load(tmp_path / "d.json")
    masks = [cv2.imread(str(path), 0) for path in (job.config.parent / "masks").iterdir()]
    assert made.pixels.anomalous == sum(int((mask == 1).sum()) for mask in masks)
    assert (made.data_set, made.method) == ("noise", "isotonic")
    assert run(job.config, job.weights, "--set", "strete", "--file", tmp_path / "e.json") == 2
    assert "'street'" in capsys.readouterr().err


def test_pasted_objects_are_the_anomalies(job, tmp_path):
    (tmp_path / "cutouts").mkdir()
    cutout = np.full((20, 20, 4), 255, np.uint8)
    for index in range(3):
        cv2.imwrite(str(tmp_path / "cutouts" / f"{index}.png"), cutout)
    folder = job.config.parent
    options = ["--images", folder / "images", "--objects", tmp_path / "cutouts"]
    options += ["--labels", folder / "labels", "--fit-curve", "isotonic"]
    for name in ("a.json", "b.json"):
        assert run(job.config, job.weights, *options, "--file", tmp_path / name) == 0
    made = Calibration.load(tmp_path / "a.json")
    assert made.data_set == "images + cutouts"
    assert made.pixels.known + made.pixels.anomalous == 3 * 32 * 48
    assert 3 * 4 <= made.pixels.anomalous < 3 * 2 * 14**2
    assert made.probability(np.float32([made.score_range[1]]))[0] > 0
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{folder}/images"], ["ground truth", "CONFIG [CHECKPOINT]"]),
        (["{folder}/images", "{folder}/labels"], ["--file"]),
        (["{folder}/images", "{folder}/masks", "--file", "c", "--set", "val"], ["--set", "CONFIG"]),
        (["{config}", "{weights}", "--strip", "a"], ["--strip", "SCORES GROUND_TRUTH"]),
        (["{config}", "{weights}", "--labels", "a"], ["--labels", "--images"]),
        (["{config}", "{weights}", "--checkpoint", "b.pth"], ["b.pth", "two checkpoints"]),
        (["{config}", "{weights}", "--images", "nowhere"], ["nowhere", "does not exist"]),
        (["{config}", "none.pth", "--images", "{folder}/images"], ["none.pth"]),
        (["enrgy_fcn-erfnet_cityscapes"], ["did you mean", "energy_fcn-erfnet_cityscapes"]),
    ],
)
def test_what_does_not_fit_together_is_one_line(
    job, tmp_path, capsys, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    places = {"config": job.config, "weights": job.weights, "folder": job.config.parent}
    assert run(*(text.format(**places) for text in arguments)) == 2
    (line, _) = capsys.readouterr().err.strip().splitlines()
    for word in words:
        assert word in line
    assert not list(tmp_path.rglob("*.json"))


class TestBesideTheConfig:
    """`NAME.calibration.json` beside `NAME.py` is used by itself, if it fits."""

    @pytest.fixture(scope="class")
    def calibrated(self, job, tmp_path_factory):
        folder = tmp_path_factory.mktemp("beside")
        config = folder / "own.py"
        shutil.copy(job.config, config)
        out = folder / "own.calibration.json"
        options = ["--set", "anomalies", "--fit-curve", "isotonic", "--file", out]
        assert run(config, job.weights, *options) == 0
        return config, out

    def test_it_gives_probabilities_and_points(self, calibrated, job, tmp_path, capsys):
        config, file = calibrated
        model = AnomalyInferencer(str(config), str(job.weights), "cpu", operating_point="fpr-5%")
        assert model.threshold == np.float32(Calibration.load(file).point("fpr 5%").threshold)
        image = job.config.parent / "images" / "0.png"
        assert model(str(image)).probability is not None
        command = ["infer", str(image), "--config", str(config), "--checkpoint", str(job.weights)]
        options = ["--save", "mask", "probability", "--operating-point", "fpr-1%", "--json"]
        lines = tmp_path / "a.jsonl"
        assert main([*command, "--out", str(tmp_path / "a"), *options, str(lines)]) == 0
        assert "own.calibration.json" in capsys.readouterr().out
        assert json.loads(lines.read_text())["operating_point"] == "fpr 1%"
        off = [*command, "--out", str(tmp_path / "b"), "--calibration", "none"]
        assert main([*off, "--save", "probability"]) == 2
        assert "--save probability" in capsys.readouterr().err
        assert main([*off, "--save", "scores"]) == 0
        assert "no calibration" in capsys.readouterr().out

    def test_it_is_not_used_for_anything_else(self, calibrated, job, tmp_path):
        config, _ = calibrated
        other = tmp_path / "other.pth"
        shutil.copy(job.weights, other)
        with other.open("ab") as stream:
            stream.write(b"\0" * 8)
        hot = {"type": "Energy", "temperature": 2.0}
        hotter = load_config(config, {"model.energy_head.score": hot})
        entropy = load_config(config, {"model.energy_head.score": {"type": "Entropy"}})
        larger = load_config(config)
        larger.test_dataloader.anomalies.dataset.pipeline[1].scale = (64, 48)
        for model, options, word in (
            (str(config), {"smoothing": {"kernel_size": 3, "sigma": 1.0}}, "smoothing"),
            (hotter, {}, "score"),
            (larger, {}, "pipeline"),
            (entropy, {}, "'Entropy'"),
        ):
            found = AnomalyInferencer(model, str(job.weights), "cpu", **options)
            assert found.calibration is None
            assert found.thresholds == {}
            assert word in found.calibration_note
        found = AnomalyInferencer(str(config), str(other), "cpu")
        assert found.calibration is None
        assert "other.pth" in found.calibration_note
