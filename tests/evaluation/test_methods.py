"""Several methods on the same images: each in every table and file, compared with one of them."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from map_folders import SHAPE, write_labels, write_maps

from ood_seg.commands import main
from ood_seg.evaluation import MapFolders, Settings, evaluate_folders, evaluate_methods
from ood_seg.evaluation.methods import all_contents
from ood_seg.evaluation.saved_maps import MapReader
from ood_seg.metrics import pixel_metrics

SHIFTS = {"drawn": 0, "better": 1, "worse": -1}
QUICK = ("--samples", 20)


@pytest.fixture
def drawn(tmp_path):
    """Maps of three methods, which differ in the height of the anomalies."""
    found = write_maps(tmp_path)
    for method, shift in SHIFTS.items():
        (tmp_path / method).mkdir()
        for name, (scores, labels) in found.maps.items():
            np.save(tmp_path / method / f"{name}.npy", scores + np.float32(shift) * (labels == 1))
    return found


@pytest.fixture
def maps(drawn):
    return [f"{method}={drawn.truth.parent / method}" for method in SHIFTS]


def run(drawn, *options):
    out = drawn.truth.parent / "out"
    return main(["evaluate", *map(str, (drawn.truth, "--out", out, *options))])


def written(drawn, file="evaluation.json"):
    return (drawn.truth.parent / "out" / file).read_text(encoding="utf-8")


def contents(drawn):
    return all_contents(json.loads(written(drawn)))


def test_every_method_is_in_every_file(drawn, maps, capsys):
    assert run(drawn, "--maps", *maps, *QUICK) == 0
    found = contents(drawn)
    assert [one["method"] for one in found] == list(SHIFTS)
    for one, shift in zip(found, SHIFTS.values(), strict=True):
        scores = drawn.all_scores() + np.float32(shift) * (drawn.all_labels() == 1)
        expected = pixel_metrics(scores, drawn.all_labels())
        assert {name: one["metrics"][name]["value"] for name in expected} == pytest.approx(expected)
        assert one["components"]["by_threshold"]
        assert one["calibration"]["operating_points"]
    for file in ("metrics.csv", "images.csv"):
        rows = list(csv.DictReader(written(drawn, file).splitlines()))
        assert list(dict.fromkeys(row["method"] for row in rows)) == list(SHIFTS)
        assert len(rows) % 3 == 0
    tex, markdown, page = (written(drawn, f) for f in ("metrics.tex", "report.md", "report.html"))
    output = capsys.readouterr().out
    for method, one in zip(SHIFTS, found, strict=True):
        ap = f"{100 * one['metrics']['ap']['value']:.2f}"
        assert re.search(rf"^ *{method} &.*{ap}", tex, re.MULTILINE)
        assert f"Components by sIoU threshold, {method}" in markdown
        assert f"Operating points, {method}" in markdown
        assert f"{method}, AP {ap}" in page  # the legend of the curve
        assert re.search(rf"{method}.*{ap}", output)
        f1 = f"{100 * one['components']['mean_f1']:.2f}"
        assert re.search(rf"{method}.*anomaly.*{f1}", output)


def test_each_method_is_evaluated_as_if_it_were_alone(drawn, maps):
    assert run(drawn, "--maps", *maps, *QUICK) == 0
    together = contents(drawn)
    for one in together:
        alone = MapFolders(drawn.truth.parent / one["method"], drawn.truth)
        settings = Settings(
            method=one["method"], data_set="masks", samples=20, commit=one["commit"]
        )
        expected = evaluate_folders(alone, settings).content
        for key in expected.keys() - {"created"}:
            assert json.dumps(one[key]) == json.dumps(expected[key]).replace("NaN", "null"), key


@pytest.mark.parametrize(("reference", "holder"), [(None, "drawn"), ("better", "better")])
def test_comparisons_stand_with_the_reference(drawn, maps, capsys, reference, holder):
    options = () if reference is None else ("--reference", reference)
    assert run(drawn, "--maps", *maps, *QUICK, *options) == 0
    found = {one["method"]: one for one in contents(drawn)}
    assert [one["method"] for one in found.values() if "comparisons" in one] == [holder]
    sections, output = found[holder]["comparisons"], capsys.readouterr().out
    assert [one["method"] for one in sections] == [name for name in SHIFTS if name != holder]
    assert found[holder]["comparison"] == sections[0]
    for section in sections:
        auroc = section["metrics"]["auroc"]
        sign = np.sign(SHIFTS[section["method"]] - SHIFTS[holder])
        assert np.sign(auroc["difference"]) == sign
        assert np.all(np.sign(auroc["interval"]) == sign)
        difference = f"{100 * auroc['difference']:.2f}"
        assert re.search(rf"{section['method']} .*AUROC.*{difference}", output)


def test_without_resamples_there_are_differences_alone(drawn, maps):
    assert run(drawn, "--maps", *maps, "--samples", 0) == 0
    (section, _) = contents(drawn)[0]["comparisons"]
    assert section["metrics"]["auroc"]["difference"] > 0
    assert section["metrics"]["auroc"]["interval"] == [None, None]
    assert section["metrics"]["auroc"]["p_value"] is None


def test_the_first_method_may_stand_alone_before_the_others(drawn, maps, tmp_path):
    arguments = [drawn.scores, drawn.truth, "--method", "mine", "--maps", *maps[1:], *QUICK]
    assert main(["evaluate", *map(str, arguments), "--out", str(tmp_path / "out")]) == 0
    assert [one["method"] for one in contents(drawn)] == ["mine", "better", "worse"]


def test_an_option_may_stand_between_the_folders(drawn, tmp_path):
    arguments = [drawn.scores, "--out", tmp_path / "out", drawn.truth, *QUICK]
    assert main(["evaluate", *map(str, arguments)]) == 0
    assert contents(drawn)[0]["method"] == "scores"


def test_a_report_of_the_folder_shows_all_methods(drawn, maps, tmp_path):
    assert run(drawn, "--maps", *maps, *QUICK) == 0
    arguments = [tmp_path / "out", "--out", tmp_path / "report", "--max-images", "0"]
    assert main(["report", *map(str, arguments)]) == 0
    text = (tmp_path / "report" / "metrics.tex").read_text()
    assert all(f"{method} &" in text for method in SHIFTS)


def test_an_interrupted_run_goes_on_in_the_middle_of_a_method(drawn, maps, monkeypatch, capsys):
    read, calls = MapReader.read, []

    def interrupted(self, scores, truth):
        calls.append(scores)
        if len(calls) == 9:  # the third image of the second method
            raise KeyboardInterrupt
        return read(self, scores, truth)

    options = ("--maps", *maps, *QUICK, "--workers", 1)
    with monkeypatch.context() as patch:
        patch.setattr(MapReader, "read", interrupted)
        assert run(drawn, *options) == 130
    assert run(drawn, *options) == 0
    reused, total = re.search(r"(\d+) of (\d+) score maps", capsys.readouterr().out).groups()
    assert int(total) == 18
    assert 8 <= int(reused) < 12
    again = contents(drawn)
    assert run(drawn, *options) == 0
    assert "18 of 18 score maps reused" in capsys.readouterr().out
    for one, other in zip(again, contents(drawn), strict=True):
        one["created"] = other["created"] = ""
        one.pop("others", None), other.pop("others", None)
        assert one == other


def test_methods_of_odd_names_keep_their_partial_results_apart(drawn, maps, capsys):
    named = [
        f"{name}={Path(part.partition('=')[2])}"
        for name, part in zip(["a/b: c", "../x", "ünï"], maps, strict=True)
    ]
    for _ in range(2):
        assert run(drawn, "--maps", *named, *QUICK) == 0
    assert "18 of 18 score maps reused" in capsys.readouterr().out
    out = drawn.truth.parent / "out"
    assert all(path.parent == out for path in out.glob("partial*"))
    assert [one["method"] for one in contents(drawn)] == ["a/b: c", "../x", "ünï"]


class TestOtherImages:
    def test_are_named(self, drawn, maps, capsys):
        (drawn.truth.parent / "better" / "frame_02.npy").unlink()
        assert run(drawn, "--maps", *maps, *QUICK) == 2
        assert "frame_02" in capsys.readouterr().err

    def test_are_left_out_of_all_methods_on_request(self, drawn, maps):
        (drawn.truth.parent / "better" / "frame_02.npy").unlink()
        assert run(drawn, "--maps", *maps, *QUICK, "--allow-missing") == 0
        for one in contents(drawn):
            assert one["num_images"] == 5
            assert any("frame_02" in note for note in one["notes"])

    def test_of_other_folders_are_an_error(self, drawn, tmp_path):
        folders = MapFolders(drawn.scores, drawn.truth)
        few = replace(folders, scores=tmp_path / "better", ground_truth=tmp_path / "few")
        few.ground_truth.mkdir()
        for name, (_, labels) in drawn.maps.items():
            write_labels(few.ground_truth / f"{name}.png", labels)
        for file in (few.scores / "frame_02.npy", few.ground_truth / "frame_02.png"):
            file.unlink()
        with pytest.raises(ValueError, match=r"'few' lacks .*frame_02"):
            evaluate_methods({"all": folders, "few": few}, Settings(samples=0))


def test_predicted_labels_of_each_method(drawn, maps, tmp_path):
    for folder, label in (("known", 3), ("right", 3), ("wrong", 4)):
        (tmp_path / folder).mkdir()
        for name in drawn.maps:
            write_labels(tmp_path / folder / f"{name}.png", np.full(SHAPE, label))
    predicted = [tmp_path / "right", f"worse={tmp_path / 'wrong'}"]
    options = ["--predicted-labels", *predicted, "--known-labels", tmp_path / "known"]
    assert run(drawn, "--maps", *maps, *QUICK, *options) == 0
    assert [one["closed_set"]["miou"] for one in contents(drawn)] == [1, 1, 0]
    options[1:3] = [f"worse={tmp_path / 'wrong'}"]
    assert run(drawn, "--maps", *maps, *QUICK, *options) == 0
    assert [bool(one["closed_set"]) for one in contents(drawn)] == [False, False, True]


class TestRefused:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ([], "--maps NAME=FOLDER"),
            (["--maps", "a=x", "a=y"], "'a' is given twice"),
            (["--maps", "a=x", "--method", "b"], "--method names the maps of SCORES"),
            (["--maps", "a=x", "--refine", "slivers"], "--refine refines the maps of SCORES"),
            (["--maps", "a=x", "--predicted-labels", "p", "q"], "p and q"),
        ],
    )
    def test_options(self, drawn, capsys, options, message):
        assert run(drawn, *options) == 2
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize("text", ["masks", "=masks", "masks="])
    def test_folders_without_a_name(self, drawn, capsys, text):
        with pytest.raises(SystemExit) as caught:
            run(drawn, "--maps", text)
        assert caught.value.code == 2
        assert f"expected NAME=FOLDER such as knn=maps/knn, got {text!r}" in capsys.readouterr().err

    def test_unknown_reference(self, drawn, maps, capsys):
        assert run(drawn, "--maps", *maps, "--reference", "bettr") == 2
        assert "did you mean 'better'?" in capsys.readouterr().err

    def test_labels_of_no_method(self, drawn):
        folders = MapFolders(drawn.scores, drawn.truth)
        with pytest.raises(ValueError, match="'b' is none of the methods"):
            evaluate_methods({"a": folders}, Settings(), predicted_labels={"b": drawn.truth})

    def test_no_method(self):
        with pytest.raises(ValueError, match="no method"):
            evaluate_methods({}, Settings())
