"""`ood-seg test`: named sets, the report, refused arguments."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.config import Config
from tiny_job import HEIGHT, WIDTH, write_job, write_weights

from ood_seg.commands import main
from ood_seg.engine import test_sets
from ood_seg.engine.testing import rows_by_set
from ood_seg.io.provenance import file_sha256
from ood_seg.reports.test_results import metric_titles


def run_test(job, work_dir, *extra) -> int:
    arguments = [str(job.config), str(job.weights), "--work-dir", str(work_dir)]
    return main(["test", *arguments, *map(str, extra)])


def test_report_of_all_sets(job, tmp_path, capsys):
    assert run_test(job, tmp_path) == 0
    report = json.loads((tmp_path / "metrics.json").read_text())
    anomalies, street = report["sets"]["anomalies"], report["sets"]["street"]
    assert anomalies["images"] == street["images"] == 3
    assert anomalies["dataset"] == "AnomalyFolderDataset"
    assert 0 < anomalies["metrics"]["anomaly/auroc"] < 100
    assert "0.95" in anomalies["protocol"] or "95 %" in anomalies["protocol"]
    assert anomalies["mode"] == "exact"
    assert street["mode"] is None
    assert 0 < street["metrics"]["mIoU"] < 100
    assert street["protocol"] is None
    assert report["checkpoint_sha256"] == file_sha256(job.weights)
    assert report["seed"] == 3
    assert report["config"] == str(job.config)
    assert report["versions"]["torch"]
    output = capsys.readouterr().out
    for text in ("anomalies", "street", "AUROC", "FPR95", "mIoU", "protocol pooled", "exact"):
        assert text in output
    assert f"{anomalies['metrics']['anomaly/ap']:.2f}" in output


def test_the_numbers_are_those_of_the_saved_scores(job, tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    import cv2

    out = tmp_path / "scores"
    assert run_test(job, tmp_path, "--sets", "anomalies", "--out", out) == 0
    report = json.loads((tmp_path / "metrics.json").read_text())
    assert list(report["sets"]) == ["anomalies"]
    scores, masks = [], []
    for index in range(3):
        scores.append(np.load(out / "anomalies" / f"{index}.npy"))
        masks.append(cv2.imread(str(job.folder / "masks" / f"{index}.png"), 0))
        assert scores[-1].shape == (HEIGHT, WIDTH)
    flat = np.concatenate([one.ravel() for one in masks]), np.concatenate(scores).ravel()
    expected = 100 * metrics.roc_auc_score(*flat)
    assert report["sets"]["anomalies"]["metrics"]["anomaly/auroc"] == pytest.approx(expected)
    origin = json.loads((out / "anomalies" / "provenance.json").read_text())
    assert origin["score"] == "Energy"
    assert origin["model"] == report["checkpoint"]
    assert origin["checkpoint_sha256"] == report["checkpoint_sha256"]


def test_maps_of_another_model_are_not_mixed(job, tmp_path, capsys):
    extra = ["--sets", "anomalies", "--out", tmp_path / "maps"]
    assert run_test(job, tmp_path, *extra) == 0
    folder = tmp_path / "maps" / "anomalies"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    other = write_weights(job.config, tmp_path / "other.pth", seed=1)
    arguments = ["test", str(job.config), str(other), "--work-dir", str(tmp_path)]
    fewer = ["--cfg-options", "test_dataloader.anomalies.dataset.indices=1"]
    assert main([*arguments, *map(str, extra), *fewer]) == 2
    message = capsys.readouterr().err
    for named in (str(folder), str(job.weights), "other.pth", "--out"):
        assert named in message
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    # Of the same model, maps may be added and replaced.
    assert run_test(job, tmp_path, *extra, *fewer) == 0


def test_augmentation_keeps_the_label_loaders_and_changes_the_scores(job, tmp_path):
    assert run_test(job, tmp_path / "plain") == 0
    assert run_test(job, tmp_path / "tta", "--tta") == 0
    plain, tta = (
        json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("plain", "tta")
    )
    assert tta["test_time_augmentation"] is True
    for name, metric in (("anomalies", "anomaly/auroc"), ("street", "mIoU")):
        values = [report["sets"][name]["metrics"][metric] for report in (plain, tta)]
        assert values[0] != values[1]


def test_checkpoint_may_come_from_the_config(job, tmp_path, capsys):
    options = ["--work-dir", str(tmp_path), "--sets", "street"]
    assert main(["test", str(job.config), *options]) == 2
    assert "`load_from`" in capsys.readouterr().err
    load_from = ["--cfg-options", f"load_from={job.weights}"]
    assert main(["test", str(job.config), *options, *load_from]) == 0


def test_show_dir_writes_a_figure_of_each_image(job, tmp_path):
    extra = ["--sets", "street", "--show-dir", tmp_path / "figures"]
    assert run_test(job, tmp_path, *extra) == 0
    assert len(list((tmp_path).rglob("*.png"))) == 3


def test_unknown_set_is_refused_with_the_list(job, tmp_path, capsys):
    assert run_test(job, tmp_path, "--sets", "street", "anomalie") == 2
    message = capsys.readouterr().err
    assert "no test set anomalie " in message
    assert "anomalies, street" in message


def test_checkpoint_of_another_model_is_refused(job, tmp_path, capsys):
    other = write_weights(write_job(tmp_path, channels=6), tmp_path / "other.pth")
    arguments = ["test", str(job.config), str(other), "--work-dir", str(tmp_path / "run")]
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert "other.pth" in message
    assert "of another shape (backbone." in message
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_weights_that_are_not_finite_are_refused(job, tmp_path, capsys):
    checkpoint = torch.load(job.weights, weights_only=True)
    checkpoint["state_dict"]["decode_head.conv_seg.bias"][0] = float("nan")
    torch.save(checkpoint, tmp_path / "diverged.pth")
    arguments = [str(job.config), str(tmp_path / "diverged.pth")]
    assert main(["test", *arguments, "--work-dir", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    for named in ("diverged.pth", "decode_head.conv_seg.bias", "NaN"):
        assert named in message
    assert not (tmp_path / "run" / "metrics.json").exists()


def test_single_set_configs_work_too():
    loader, evaluator = {"dataset": {"type": "X"}}, {"type": "IoUMetric"}
    cfg = Config({"test_dataloader": loader, "test_evaluator": evaluator, "test_cfg": {}})
    assert test_sets.named_sets(cfg) == {"test": (loader, evaluator)}
    with pytest.raises(ValueError, match="MultiSetTestLoop"):
        test_sets.keep_sets(cfg, ["a"])
    assert rows_by_set({"mIoU": 3.0, "anomaly/ap": 4.0}, ["test"]) == {
        "test": {"mIoU": 3.0, "anomaly/ap": 4.0}
    }


def test_out_needs_a_metric_that_can_save():
    cfg = Config({"test_dataloader": {"dataset": {}}, "test_evaluator": {"type": "DumpResults"}})
    from pathlib import Path

    from mmengine.registry import init_default_scope

    init_default_scope("mmseg")
    with pytest.raises(ValueError, match="output_dir"):
        test_sets.save_predictions(cfg, Path("out"))
    cfg.test_evaluator = {"type": "KnownIoUMetric"}
    test_sets.save_predictions(cfg, Path("out"))
    assert cfg.test_evaluator.output_dir == "out"


def test_augmentation_needs_its_config_entries():
    cfg = Config({"tta_model": {"type": "OODTTAModel"}})
    with pytest.raises(ValueError, match="tta_pipeline"):
        test_sets.use_tta(cfg)


def test_rows_and_columns():
    results = {"a/anomaly/ap": 1.0, "a/mIoU": 2.0, "b/x/ap": 3.0, "b/mIoU": 4.0}
    rows = rows_by_set(results, ["a", "b"])
    assert rows == {"a": {"anomaly/ap": 1.0, "mIoU": 2.0}, "b": {"x/ap": 3.0, "mIoU": 4.0}}
    # `ap` stands for two metrics here, so that the short title would be ambiguous.
    assert metric_titles(rows) == {"anomaly/ap": "anomaly/ap", "mIoU": "mIoU", "x/ap": "x/ap"}
    assert metric_titles({"a": {"anomaly/ap": 1.0}}) == {"anomaly/ap": "AP"}


def test_iou_of_frozen_and_branch_labels(job, tmp_path, capsys):
    plain, changed = torch.load(job.weights, weights_only=True), {}
    for name, value in plain["state_dict"].items():
        if name.startswith("decode_head."):
            changed[f"anomaly_branch.{name}"] = value.roll(1, 0)  # other classes
    weights = tmp_path / "branch.pth"
    torch.save({"state_dict": {**plain["state_dict"], **changed}}, weights)
    fork = "model.anomaly_branch.fork=['decode_head.*']"
    arguments = ["--sets", "street", "--branch-iou", "--cfg-options", fork]
    assert run_test(job, tmp_path / "plain", "--sets", "street") == 0
    for tta in ([], ["--tta"]):
        folder = tmp_path / f"both{len(tta)}"
        command = ["test", job.config, weights, "--work-dir", folder, *tta, *arguments]
        assert main(list(map(str, command))) == 0
        rows = [
            json.loads((path / "metrics.json").read_text())["sets"]["street"]["metrics"]
            for path in (tmp_path / "plain", folder)
        ]
        assert rows[0]["mIoU"] == rows[1]["mIoU"] or tta
        assert rows[1]["branch/mIoU"] != rows[1]["mIoU"]
        assert "branch/mIoU" in capsys.readouterr().out
    assert run_test(job, tmp_path, "--branch-iou") == 2
    assert "anomaly_branch" in capsys.readouterr().err


def test_refined_maps_are_measured_saved_and_named(job, tmp_path):
    import cv2

    from ood_seg.io.map_origins import read_origin
    from ood_seg.refinement import Evidence, Refinement

    steps = ["segments,weight=1,across=4", "saliency=" + str(tmp_path / "saliency") + ",weight=2"]
    (tmp_path / "saliency").mkdir()
    for index in range(3):
        values = np.full((HEIGHT, WIDTH), 40 * index, np.uint8)
        cv2.imwrite(str(tmp_path / "saliency" / f"{index}.png"), values)
    steps[1] += ",known=none"
    plain, out = tmp_path / "plain", tmp_path / "refined"
    assert run_test(job, tmp_path, "--sets", "anomalies", "--out", plain) == 0
    options = ("--refine", steps[0], "--refine", steps[1])
    assert run_test(job, tmp_path, "--sets", "anomalies", "--out", out, *options) == 0
    refinement = Refinement.of(steps)
    for index in range(3):
        image = cv2.imread(str(job.folder / "images" / f"{index}.png"))
        scores = np.load(plain / "anomalies" / f"{index}.npy")
        expected = refinement(scores, Evidence(image, name=str(index)))
        np.testing.assert_array_equal(np.load(out / "anomalies" / f"{index}.npy"), expected)
    origin = read_origin(out / "anomalies")
    assert origin.score == refinement.score_name(read_origin(plain / "anomalies").score)
    assert origin.refinement == refinement.record()
    assert run_test(job, tmp_path, "--sets", "anomalies", "--out", plain, *options) == 2
