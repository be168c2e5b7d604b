"""The flicker benchmark tells a steady video from a flickering one."""

import importlib.util
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from perception_scenes import PALETTE, grey_image, texture

from ood_seg.perception.core.decision import DecisionRule
from ood_seg.perception.core.types import Frame, Prediction

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "flicker.py"


@pytest.fixture(scope="module")
def benchmark():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("flicker_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # which its dataclass looks up
    spec.loader.exec_module(module)
    return module


def test_filter_and_tracker_lower_the_flicker_of_a_moving_scene(benchmark):
    wide, rng = texture(60, 120), np.random.default_rng(0)
    seen = []
    for index in range(8):
        image = grey_image(wide[:, 2 * index : 2 * index + 96])
        scores = rng.normal(0, 0.5, (60, 96)).astype(np.float32)
        left = 50 - 2 * index
        scores[20:40, left : left + 20] += 0.5 if index == 4 else 4  # missed once
        labels = np.zeros((60, 96), np.uint8)
        seen.append((Frame(image, str(index), index), Prediction(labels, scores)))
    decide = partial(DecisionRule(2.0, min_area=50), palette=PALETTE, score_name="drawn")
    found = {
        name: benchmark.measure(variant, seen, decide)
        for name, variant in benchmark.variants(0.5).items()
    }
    alone, along = found["each frame alone"], found["average along the motion"]
    assert alone["same mask"] == 1
    assert alone["changed"] == 2 / 7
    assert along["scores"] < 0.7 * alone["scores"]
    assert along["mask"] < alone["mask"]
    assert found["tracker"]["changed"] == 1 / 7  # its birth
    assert found["tracker"]["mask"] == alone["mask"]
    for values in found.values():
        for key in benchmark.COLUMNS:
            assert benchmark.format_value(key, values[key])
