"""A tiny network with checkpoint and calibration, exported once for all tests."""

from __future__ import annotations

import functools
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("mmseg")

import tiny
import torch
from filelock import FileLock
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ood_seg.register  # noqa: F401
from ood_seg.calibration import calibrate
from ood_seg.export.exporting import Options, export_onnx
from ood_seg.metrics.histogram import ScoreHistogram

init_default_scope("mmseg")
SIZE = (48, 64)  # height and width that the network sees


def config(resize: dict | None = None, **changes) -> Config:
    """A config of the tiny network; by default its test pipeline resizes to `SIZE`."""
    resize = {"scale": SIZE[::-1], "keep_ratio": False} if resize is None else resize
    pipeline = [{"type": "LoadImageFromFile"}, {"type": "PackSegInputs"}]
    if resize:
        pipeline.insert(1, {"type": "Resize", **resize})
    return Config({"model": tiny.model_config(**changes), "test_pipeline": pipeline})


def checkpoint(folder: Path, **changes) -> Path:
    """Write weights of the tiny network."""
    path = folder / "tiny.pth"
    torch.save({"state_dict": tiny.build(**changes).state_dict()}, path)
    return path


def calibration(folder: Path, method: str = "isotonic") -> Path:
    """Write a calibration of random energies in the range of this network's."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.uint8([0, 1]), [400, 60])
    histograms = []
    for _ in range(24):
        scores = np.concatenate([rng.normal(-4, 1.5, 400), rng.normal(-2, 1.5, 60)])
        histograms.append(ScoreHistogram.from_scores(scores.astype(np.float32), labels))
    options = {"score": "Energy", "data_set": "made up", "points": ("fpr 5%", "tpr 95%")}
    path = folder / f"{method}.json"
    calibrate(histograms, method=method, **options).save(path)
    return path


@functools.cache
def exported(basetemp: Path) -> dict:
    """One export with all outputs, because the exporter is slow; shared by parallel processes.

    Args:
        basetemp: of this process's `tmp_path_factory`.
    """
    folder = basetemp.parent if "PYTEST_XDIST_WORKER" in os.environ else basetemp
    done, out = folder / "exported.pickle", folder / "tiny.onnx"
    with FileLock(folder / "exported.lock"):
        if not done.exists():
            files = {"weights": checkpoint(folder), "calibration": calibration(folder)}
            options = {"calibration": files["calibration"]}
            export = export_onnx(config(), files["weights"], out, Options(logits=True), **options)
            done.write_bytes(pickle.dumps({"export": export, "model": out, **files}))
    return pickle.loads(done.read_bytes())


def made_up_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise `(height, width, 3)` uint8."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
