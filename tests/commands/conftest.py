"""The tiny job of `tiny_job`, written to disk once for each test module."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_job import write_job, write_weights


@dataclass(frozen=True)
class TinyJob:
    """Paths of a tiny job."""

    folder: Path
    config: Path
    weights: Path


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> TinyJob:
    """A config with its data and random weights; tests write elsewhere."""
    pytest.importorskip("mmseg")
    from ood_seg.startup import prepare

    prepare()
    folder = tmp_path_factory.mktemp("tiny_job")
    config = write_job(folder)
    return TinyJob(folder, config, write_weights(config, folder / "weights.pth"))
