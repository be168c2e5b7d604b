"""Stored results of images are found for the same files, options and format alone."""

from __future__ import annotations

import os

import numpy as np
import pytest

from ood_seg.evaluation import partial_results
from ood_seg.evaluation.partial_results import PartialResults


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "scores.npy"
    np.save(path, np.zeros(3))
    return [path]


def test_found_until_something_changes(tmp_path, files):
    options = {"reader": {"scale": 1}}
    PartialResults(tmp_path / "out", options).save("a", files, {"counts": np.arange(3)})
    found = PartialResults(tmp_path / "out", options).load("a", files)
    assert list(found) == ["counts"]
    assert found["counts"].tolist() == [0, 1, 2]
    assert PartialResults(tmp_path / "out", options).load("b", files) is None
    assert PartialResults(tmp_path / "out", {"reader": {"scale": 2}}).load("a", files) is None
    os.utime(files[0], ns=(0, 0))
    assert PartialResults(tmp_path / "out", options).load("a", files) is None


def test_results_of_an_earlier_format_are_not_read(tmp_path, files, monkeypatch):
    # Version 1 held histograms of a fixed number of key bits.
    monkeypatch.setattr(partial_results, "_VERSION", 1)
    PartialResults(tmp_path, {}).save("a", files, {"bins": np.arange(3)})
    assert PartialResults(tmp_path, {}).load("a", files) is not None
    monkeypatch.undo()
    assert PartialResults(tmp_path, {}).load("a", files) is None
