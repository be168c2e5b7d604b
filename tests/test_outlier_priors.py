"""Prior files: round trip, and the messages for invalid ones."""

import json

import pytest

from ood_seg.labels import CITYSCAPES_CLASSES
from ood_seg.outlier_priors import (
    CITYSCAPES_COCO_WRN38,
    SHIPPED,
    OutlierPrior,
    find_prior,
    read_prior,
    write_prior,
)


def test_published_prior():
    by_name = dict(zip(CITYSCAPES_CLASSES, CITYSCAPES_COCO_WRN38, strict=True))
    assert sum(CITYSCAPES_COCO_WRN38) == pytest.approx(1.0000010, abs=1e-7)
    assert sorted(by_name, key=by_name.get)[-3:] == ["truck", "road", "person"]
    assert min(by_name, key=by_name.get) == "traffic light"
    assert find_prior("cityscapes-coco-wrn38") is SHIPPED["cityscapes-coco-wrn38"]


def test_counts_become_shares_and_are_read_back(tmp_path):
    prior = OutlierPrior.from_counts([3, 0, 1], ("a", "b", "c"), model="m.pth", seed=4)
    assert prior.prior == (0.75, 0.0, 0.25)
    write_prior(tmp_path / "x" / "prior.json", prior)
    assert read_prior(tmp_path / "x" / "prior.json") == prior
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["prior.json"]


def test_prior_of_other_classes_is_refused():
    prior = OutlierPrior.from_counts([1, 1], ("road", "sky"))
    prior.check_classes(["road", "sky"], origin="x")
    with pytest.raises(ValueError, match=r"'sky'.*\b1\b.*'car'"):
        prior.check_classes(("road", "car"), origin="x")
    with pytest.raises(ValueError, match=r"\b2\b.*\b3\b"):
        prior.check_classes(("road", "sky", "car"), origin="x")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([1, 2], r"\b2\b.*\b3\b"),
        ([0, 0, 0], r"counts.*\(0, 0, 0\)"),
        ([2, -1, 1], r"counts.*>= 0.*\(2, -1, 1\)"),
        ([2, 0.5, 1], r"counts.*integers.*\(2, 0.5, 1\)"),
        ([2, float("inf"), 1], r"counts.*integers.*\(2, inf, 1\)"),
        ([2, float("nan"), 1], r"counts.*integers.*\(2, nan, 1\)"),
    ],
)
def test_wrong_counts_are_refused(counts, message):
    with pytest.raises(ValueError, match=message):
        OutlierPrior.from_counts(counts, ("a", "b", "c"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other"}, r"schema.*ood_seg\.outlier_prior/1"),
        ({"prior": [0.5, 0.5]}, r"prior.*\b3\b.*\[0\.5, 0\.5\]"),
        ({"prior": [0.5, 0.6, 0.2]}, r"prior.*sum to 1.*1\.3"),
        ({"prior": [1.5, -0.5, 0.0]}, "'prior'.*from 0"),
        ({"prior": [float("nan"), 0.5, 0.5]}, "prior.*finite.*nan"),
        ({"prior": [[1, 0, 0]]}, "prior.*finite"),
        ({"prior": ["0.5", 0.5, 0]}, "prior.*finite"),
        ({"prior": [True, 0, 0]}, "prior.*finite.*True"),
        ({"prior": [10**400, 0, 0]}, "prior.*finite"),
        ({"prior": {"a": 1}}, "prior.*list"),
        ({"classes": None}, "classes"),
        ({"classes": "abc"}, "'classes'.*list of texts.*'abc'"),
        ({"classes": ["a", "b", 3]}, "'classes'.*list of texts"),
        ({"classes": {"a": 0, "b": 1, "c": 2}}, "'classes'.*list of texts"),
        ({"counts": [3, 0]}, r"'counts'.*\b3\b.*\[3, 0\]"),
        ({"counts": [3, -1, 1]}, "'counts'.*integers from 0"),
        ({"counts": [3, float("inf"), 1]}, "'counts'.*integers from 0.*inf"),
        ({"counts": [3, 0.5, 1]}, "'counts'.*integers from 0"),
        ({"counts": ["3", 0, 1]}, "'counts'.*integers from 0"),
        ({"counts": [2**70, 0, 1]}, "'counts'.*integers from 0"),
        ({"counts": [0, 0, 0]}, "'counts'.*above 0"),
        ({"counts": 4}, "'counts'.*list"),
    ],
)
def test_damaged_files_are_refused(tmp_path, change, message):
    path = tmp_path / "prior.json"
    write_prior(path, OutlierPrior.from_counts([3, 0, 1], ("a", "b", "c")))
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=message) as error:
        read_prior(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_without_an_entry_or_nested_too_deeply_is_refused(tmp_path):
    path = tmp_path / "prior.json"
    write_prior(path, OutlierPrior.from_counts([3, 0, 1], ("a", "b", "c")))
    content = json.loads(path.read_text())
    for name in ("prior", "classes"):
        path.write_text(json.dumps({key: content[key] for key in content if key != name}))
        with pytest.raises(ValueError, match=rf"prior\.json.*'{name}' is missing"):
            read_prior(path)
    for text in ("[" * 100_000, '{"schema": ' + "[" * 100_000):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"prior\.json.*nested too deeply"):
            read_prior(path)


def test_missing_files_and_files_of_other_formats(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.json.*cityscapes-coco-wrn38"):
        find_prior(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("no json")
    with pytest.raises(ValueError, match=r"text\.json.*JSON"):
        find_prior(tmp_path / "text.json")
