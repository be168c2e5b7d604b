"""Evaluation and calibration of folders, called from Python."""

from __future__ import annotations

import json

import numpy as np
import pytest
from map_folders import write_maps

from ood_seg.calibration import calibrate, with_false_alarms
from ood_seg.calibration.files import to_content
from ood_seg.evaluation import MapFolders, Settings, calibrate_folders, evaluate_folders
from ood_seg.evaluation.run import evaluate_maps
from ood_seg.evaluation.saved_maps import MapFormat, MapReader
from ood_seg.metrics import ScoreHistogram, pixel_metrics

QUICK = Settings(samples=10, calibration=None, track=None)


@pytest.fixture
def drawn(tmp_path):
    return write_maps(tmp_path)


@pytest.fixture
def folders(drawn):
    return MapFolders(drawn.scores, drawn.truth)


def test_the_evaluation_is_that_of_the_pairs_of_files(drawn, folders):
    settings = Settings(samples=10, seed=2)
    calls = []
    found = evaluate_folders(folders, settings, on_image=lambda *counts: calls.append(counts))
    expected = evaluate_maps(folders.matches().pairs, MapReader(), settings)
    for evaluation in (found, expected):
        evaluation.content["created"] = ""
    assert found.content.pop("origin") is None  # no provenance.json beside these maps
    assert json.dumps(found.content) == json.dumps(expected.content)
    assert calls == [(done, 12) for done in range(1, 13)]
    metrics = pixel_metrics(drawn.all_scores(), drawn.all_labels())
    assert found.content["metrics"]["ap"]["value"] == pytest.approx(metrics["ap"], abs=1e-12)


def test_comparison_with_a_second_folder(drawn, folders, tmp_path):
    (tmp_path / "better").mkdir()
    for name, (scores, labels) in drawn.maps.items():
        np.save(tmp_path / "better" / f"{name}.npy", scores + 2 * (labels == 1))
    calls = []
    with pytest.deprecated_call(match="evaluate_methods"):
        found = evaluate_folders(
            folders,
            QUICK,
            partial=tmp_path / "partial",
            compare=tmp_path / "better",
            on_image=lambda *counts: calls.append(counts),
        )
    comparison = found.content["comparison"]
    assert comparison["method"] == "better"
    assert comparison["metrics"]["ap"]["difference"] > 0.05
    assert calls[-1] == (12, 12)
    stored = sorted(path.name for path in (tmp_path / "partial-better" / "pixels").iterdir())
    assert stored == [f"{name}.npz" for name in drawn.maps]


def test_what_has_no_partner_is_an_error_or_a_note(drawn, folders):
    (drawn.scores / "frame_00.npy").unlink()
    with pytest.raises(ValueError, match="1 ground truth files without a score map"):
        evaluate_folders(folders, QUICK)
    lenient = MapFolders(drawn.scores, drawn.truth, allow_missing=True)
    assert "left out: 1 ground truth files" in evaluate_folders(lenient, QUICK).content["notes"][-1]
    with pytest.warns(UserWarning, match="left out: 1 ground truth files"):
        calibrate_folders(lenient, score="Energy", points=["fpr 5%"])


def test_the_scale_of_a_folder_is_read_unless_another_is_given(drawn, folders):
    (drawn.scores / "scale.json").write_text('{"scale": 0.5, "offset": -20}')
    assert folders.reader().format == MapFormat(scale=0.5, offset=-20)
    given = MapFolders(drawn.scores, drawn.truth, MapFormat(key="a", scale=2.0))
    assert given.reader().format == MapFormat(key="a", scale=2.0)


def test_calibration_of_a_folder(drawn, folders, tmp_path):
    calls = []
    options = {"method": "isotonic", "points": ["tpr 90%"], "seed": 3, "model": "net"}
    found = calibrate_folders(
        folders,
        score="Energy",
        min_area=2,
        on_image=lambda *counts: calls.append(counts),
        **options,
    )
    histograms = [ScoreHistogram.from_scores(*image) for image in drawn.maps.values()]
    expected = calibrate(histograms, score="Energy", data_set="masks", **options)
    expected = with_false_alarms(expected, drawn.maps.values(), min_area=2)
    assert to_content(found) == to_content(expected)
    assert calls == [(done, 12) for done in range(1, 13)]
    with pytest.raises(FileNotFoundError, match=r"none\.pth does not exist"):
        calibrate_folders(folders, score="Energy", checkpoint=tmp_path / "none.pth")
