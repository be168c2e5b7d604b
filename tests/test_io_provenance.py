"""Commit, versions, hashes and JSON files of results."""

import hashlib
import json
import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import ood_seg
from ood_seg.io.json_files import finite, plain, write_json
from ood_seg.io.provenance import checkpoint_sha256, file_sha256, git_commit, versions


def test_json_has_no_nan(tmp_path):
    content = {"a": math.nan, "b": [np.float32(1.5), math.inf], "c": np.int64(2)}
    path = write_json(tmp_path / "deep" / "metrics.json", content)
    assert path == tmp_path / "deep" / "metrics.json"
    assert json.loads(path.read_text()) == {"a": None, "b": [1.5, None], "c": 2}


def test_plain_values():
    value = {1: np.arange(2), "t": torch.tensor([0.5]), "p": Path("a"), "n": (None, True, {"x": 2})}
    assert plain(value) == {"1": [0, 1], "t": [0.5], "p": "a", "n": [None, True, {"x": 2}]}
    assert finite({"a": (1.0, -math.inf)}) == {"a": [1.0, None]}


def test_hash_of_a_file(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"x" * (3 << 20))  # more than one block
    expected = hashlib.sha256(b"x" * (3 << 20)).hexdigest()
    assert file_sha256(path) == expected
    assert checkpoint_sha256(str(path)) == expected
    path.write_bytes(b"abc")  # the published test vector
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("source", ["https://example.org/weights.pth", "torchvision://resnet", "a"])
def test_no_hash_without_a_file_here(source):
    assert checkpoint_sha256(source) is None


def _git(folder, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_of_a_clone_with_and_without_edits(tmp_path, monkeypatch):
    package = tmp_path / "ood_seg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    monkeypatch.setattr(ood_seg, "__file__", str(package / "__init__.py"))
    assert git_commit() is None  # installed, no clone
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-qm", "first")
    _git(tmp_path, "tag", "v1")  # a tag is no commit
    commit = _git(tmp_path, "rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert git_commit() == commit
    (package / "__init__.py").write_text("edited = True\n")
    assert git_commit() == f"{commit}-dirty"


def test_versions_of_what_is_installed():
    found = versions()
    assert found["ood-seg"] == ood_seg.__version__
    assert found["numpy"] == np.__version__
    assert found["torch"] == torch.__version__
