"""`ood-seg fit`: the file, its contents, and the arguments that it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
from mmseg.registry import MODELS
from tiny_detectors import NearestMean
from tiny_job import write_job, write_weights

from ood_seg import detectors, progress
from ood_seg.apis import AnomalyInferencer
from ood_seg.commands import main
from ood_seg.commands.fit import parse_options
from ood_seg.detectors import StatisticsFile
from ood_seg.engine.fitting import make_fitters
from ood_seg.io.files import claimed

MODELS.register_module(module=NearestMean, force=True)


@pytest.fixture(autouse=True)
def simple_methods(monkeypatch):
    """One simple method beside two real ones."""
    chosen = {name: detectors.FITTED[name] for name in ("sml", "mahalanobis")}
    monkeypatch.setattr(detectors, "FITTED", {**chosen, "nearest-mean": NearestMean})


def run_fit(job, work_dir, *extra, out="tiny.stats"):
    arguments = [str(job.config), str(job.weights), "--work-dir", str(work_dir)]
    arguments += ["--out", str(work_dir / out), "--data", "street", *map(str, extra)]
    return main(["fit", *arguments])


def test_one_file_for_all_methods(job, tmp_path, capsys):
    assert run_fit(job, tmp_path) == 0
    found = StatisticsFile.load(tmp_path / "tiny.stats")
    assert list(found.methods) == ["sml", "mahalanobis", "nearest-mean"]
    assert found.classes == ("road", "sky", "car")
    assert len(found.fingerprint) == 64
    facts = found.facts
    assert facts["data"] == {"street": 3}
    assert facts["images"] == 3
    assert facts["seed"] == 3
    assert facts["model"] == str(job.weights)
    assert facts["config"] == str(job.config)
    assert sum(facts["pixels"]) == 3 * 32 * 48
    means = found.section("nearest-mean").tensors["means"]
    assert means.shape == (3, 4)
    output = capsys.readouterr().out
    assert "sml, mahalanobis, nearest-mean" in output
    assert "3 images of street" in output


def test_two_fits_of_one_file_are_refused_and_leftovers_removed(job, tmp_path, capsys):
    left = tmp_path / ".tiny.stats.0123abcd.part"
    with claimed(tmp_path / "tiny.stats"):
        left.touch()
        assert run_fit(job, tmp_path) == 2
        assert f"{tmp_path / 'tiny.stats'} is being written" in capsys.readouterr().err
    assert run_fit(job, tmp_path) == 0
    assert [path.name for path in tmp_path.glob("*tiny.stats*")] == ["tiny.stats"]
    assert not left.exists()


def test_the_flow_shows_its_training(job, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detectors, "FITTED", {"flow": detectors.EmbeddingDensity})
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    assert run_fit(job, tmp_path, "--option", "flow.steps=3") == 0
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("fit: ") and "images" in line for line in lines)
    assert any(line.startswith("flow, penultimate: 3 of 3 steps") for line in lines)


def test_two_fits_are_identical(job, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        assert run_fit(job, tmp_path / folder) == 0
    contents = [(tmp_path / folder / "tiny.stats").read_bytes() for folder in ("a", "b")]
    assert contents[0] == contents[1]


def test_the_fitted_score_works_where_the_model_does(job, tmp_path, capsys):
    assert run_fit(job, tmp_path, "--methods", "mahalanobis") == 0
    score = {"type": "Mahalanobis", "statistics": str(tmp_path / "tiny.stats")}
    text = f"\nmodel['energy_head'] = dict(type='EnergyHead', score={score})\n"
    config = tmp_path / "mahalanobis.py"
    config.write_text(job.config.read_text() + text)
    arguments = [str(config), str(job.weights), "--work-dir", str(tmp_path)]
    assert main(["test", *arguments, "--sets", "anomalies", "--out", str(tmp_path / "maps")]) == 0
    saved = np.load(tmp_path / "maps" / "anomalies" / "0.npy")
    inferencer = AnomalyInferencer(config, job.weights, device="cpu")
    result = inferencer(job.folder / "images" / "0.png")
    np.testing.assert_allclose(result.anomaly, saved, rtol=1e-4, atol=1e-4)
    assert main(["test", *arguments, "--tta"]) == 2
    assert "test-time augmentation averages logits" in capsys.readouterr().err


def test_statistics_of_other_weights_are_refused(job, tmp_path, capsys):
    assert run_fit(job, tmp_path, "--methods", "sml") == 0
    other = write_weights(job.config, tmp_path / "other.pth", seed=1)
    score = {"type": "StandardizedMaxLogit", "statistics": str(tmp_path / "tiny.stats")}
    config = tmp_path / "sml.py"
    text = f"\nmodel['energy_head'] = dict(type='EnergyHead', score={score})\n"
    config.write_text(job.config.read_text() + text)
    arguments = [str(config), str(other), "--work-dir", str(tmp_path), "--sets", "anomalies"]
    assert main(["test", *arguments]) == 2
    error = capsys.readouterr().err
    assert "tiny.stats" in error
    assert str(job.weights) in error
    # Fitting with such a config does not need the statistics that it names.
    arguments = [str(config), str(other), "--work-dir", str(tmp_path), "--data", "train"]
    assert main(["fit", *arguments, "--file", str(tmp_path / "new.stats"), "--methods", "sml"]) == 0
    assert StatisticsFile.load(tmp_path / "new.stats").facts["data"] == {"train": 3}


def test_bad_images_are_left_out_and_listed(tmp_path, job, capsys):
    config = write_job(tmp_path)
    arguments = ["fit", str(config), str(job.weights), "--work-dir", str(tmp_path), "--data"]
    arguments += ["street", "--methods", "sml", "--out"]
    bad = tmp_path / "images" / "1.png"
    bad.write_bytes(bad.read_bytes()[:200])
    assert main([*arguments, str(tmp_path / "part.stats")]) == 1
    output = capsys.readouterr().out
    assert "2 images of street" in output
    assert f"left out of street: image {tmp_path}/images/1.png" in output
    part = StatisticsFile.load(tmp_path / "part.stats")
    assert part.facts["data"] == {"street": 2}
    (reason,) = part.facts["left_out"]["street"]
    assert "1.png" in reason
    # The statistics are those of the images that are left.
    for name in ("images", "labels"):
        (tmp_path / name / "1.png").unlink()
    assert main([*arguments, str(tmp_path / "whole.stats")]) == 0
    whole = StatisticsFile.load(tmp_path / "whole.stats")
    assert whole.facts["left_out"] == {}
    for name, value in whole.section("sml").tensors.items():
        assert torch.equal(value, part.section("sml").tensors[name]), name
    # Where nothing can be read, nothing is written.
    for path in (tmp_path / "labels").iterdir():
        path.write_bytes(b"no image")
    capsys.readouterr()
    assert main([*arguments, str(tmp_path / "none.stats")]) == 2
    assert "0.png" in capsys.readouterr().err
    assert not (tmp_path / "none.stats").exists()


def test_absent_classes_are_reported(tmp_path, job, capsys):
    import cv2

    config = write_job(tmp_path)
    for path in (tmp_path / "labels").iterdir():
        labels = cv2.imread(str(path), 0)
        labels[labels == 2] = 255
        cv2.imwrite(str(path), labels)
    arguments = [str(config), str(job.weights), "--work-dir", str(tmp_path), "--methods", "sml"]
    arguments += ["--file", str(tmp_path / "a.stats"), "--data", "street"]
    assert main(["fit", *arguments]) == 0
    assert "no pixel of car" in capsys.readouterr().out
    assert StatisticsFile.load(tmp_path / "a.stats").facts["pixels"][2] == 0


def test_rare_classes_are_reported(tmp_path, job, capsys):
    import cv2

    config = write_job(tmp_path)
    for path in (tmp_path / "labels").iterdir():
        labels = cv2.imread(str(path), 0)
        labels[:] = 0
        cv2.imwrite(str(path), labels)
    labels[0, 0] = 2
    cv2.imwrite(str(path), labels)
    arguments = [str(config), str(job.weights), "--work-dir", str(tmp_path), "--methods", "sml"]
    arguments += ["--file", str(tmp_path / "a.stats"), "--data", "street"]
    assert main(["fit", *arguments]) == 0
    output = capsys.readouterr().out
    assert "0.1% of the pixels each: car\n" in output
    assert "no pixel of sky\n" in output


def test_a_method_with_too_little_data_is_named(job, tmp_path, capsys):
    many = "nearest-mean.minimum=1000000"
    assert run_fit(job, tmp_path, "--methods", "sml", "nearest-mean", "--option", many) == 1
    assert "not fitted: nearest-mean: at least 1000000" in capsys.readouterr().out
    assert list(StatisticsFile.load(tmp_path / "tiny.stats").methods) == ["sml"]
    assert run_fit(job, tmp_path, "--methods", "nearest-mean", "--option", many) == 2
    message = capsys.readouterr().err
    assert "nearest-mean" in message
    assert "1000000" in message


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        (["--methods", "mahalanobi"], ["--methods", "'mahalanobi'", "sml, mahalanobis"]),
        (["--methods", "sml", "--layers", "backbone"], ["--layers", "sml"]),
        (["--methods", "nearest-mean", "--layers", "head"], ["layer 'head'", "backbone"]),
        (["--option", "sml.size"], ["--option", "METHOD.NAME=VALUE", "'sml.size'"]),
        (["--option", "sml.size=3"], ["--option", "sml", "'size'"]),
        (["--methods", "sml", "--option", "mahalanobis.seed=1"], ["--option", "mahalanobis"]),
        (["--num-images", "9"], ["--num-images", "street", "1 to 3", "9"]),
        (["--data", "nothing"], ["--data", "'nothing'", "train, anomalies, street"]),
        (["--data", "fit"], ["--data fit", "fit_dataloader", "train, anomalies, street"]),
        (["--data", "anomalies"], []),
    ],
)
def test_refused_arguments_are_named(job, tmp_path, capsys, extra, named):
    code = run_fit(job, tmp_path, *extra)
    if named:
        assert code == 2
        message = capsys.readouterr().err
        for words in named:
            assert words in message
        assert not (tmp_path / "tiny.stats").exists()


def test_options_of_the_command_override_those_of_the_config(job, tmp_path, capsys):
    config = tmp_path / "greedy.py"
    text = '\nfit_options = {"nearest-mean": dict(minimum=1000000)}\n'
    config.write_text(job.config.read_text() + text)
    arguments = [str(config), str(job.weights), "--work-dir", str(tmp_path), "--data", "street"]
    arguments += ["--file", str(tmp_path / "a.stats"), "--methods", "nearest-mean"]
    assert main(["fit", *arguments]) == 2
    assert "1000000" in capsys.readouterr().err
    assert main(["fit", *arguments, "--option", "nearest-mean.minimum=1"]) == 0
    config.write_text(job.config.read_text() + text.replace("nearest-mean", "nearest"))
    assert main(["fit", *arguments]) == 2
    message = capsys.readouterr().err
    assert "fit_options" in message
    assert "'nearest'" in message


def test_options_are_json_or_text():
    texts = ['flow.layers=["a", "b"]', "flow.steps=5", "knn.kind=euclid"]
    assert parse_options(texts) == {
        "flow": {"layers": ["a", "b"], "steps": 5},
        "knn": {"kind": "euclid"},
    }
    fitters = make_fitters(["nearest-mean"], {"seed": 4}, {"nearest-mean": {"minimum": 8}})
    assert fitters["nearest-mean"].minimum == 8
