"""Scenes of many kinds of scores, and comparisons of streamed counts."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from ood_seg.metrics import PixelMetrics
from ood_seg.metrics.streaming import ScoreTable

LARGEST = float(np.finfo(np.float32).max)
ASKED = {"tprs": (0.5, 0.95, 1.0), "best_f1": True}


def scene(kind: str, size: int = 200_000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Float32 scores of a kind, and labels with 0.25 % anomalous and some ignored pixels."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(size) < 0.0025).astype(np.uint8)
    labels[rng.random(size) < 0.05] = 255
    energy = 1.5 * rng.standard_normal(size) - 8 + 3 * (labels == 1)
    scores = {
        "energy": energy,
        "shifted": energy + 1e3,
        "probability": 1 / (1 + np.exp(-energy)),
        "wide": np.exp(6 * energy),
        "heavy tails": rng.standard_cauchy(size) + 2 * (labels == 1),
        "8 bit": np.clip(10 * energy + 200, 0, 255).round() / 255,
        "half": energy.astype(np.float16),
        "saturated": np.maximum(energy, -8) + 8,
        "constant": np.full(size, -7.25),
    }[kind]
    return scores.astype(np.float32), labels


KINDS = (
    "energy",
    "shifted",
    "probability",
    "wide",
    "heavy tails",
    "8 bit",
    "half",
    "saturated",
    "constant",
)


def assert_same_state(first: ScoreTable, second: ScoreTable) -> None:
    """Both hold the same bins with the same counts."""
    one, other = first.state(), second.state()
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], err_msg=name)


def assert_same(first: PixelMetrics, second: PixelMetrics) -> None:
    """Both hold the same counts and give the same numbers."""
    assert_same_state(first._table, second._table)
    assert first.compute(**ASKED) == second.compute(**ASKED)
    assert first.bounds(**ASKED) == second.bounds(**ASKED)
    assert first.num_ignored == second.num_ignored


def streamed(*images) -> PixelMetrics:
    """The images streamed one by one."""
    metrics = PixelMetrics("streaming")
    for scores, labels in images:
        metrics.update(scores, labels)
    return metrics


def values(*, ties: bool) -> st.SearchStrategy:
    """Finite float32: any (denormal, huge, signed zeros), or few and near each other."""
    if ties:
        near = np.float32(1) + np.arange(-3, 4, dtype=np.float32) * np.float32(2**-22)
        return st.sampled_from([-LARGEST, -1e-45, -0.0, 0.0, 1e-45, LARGEST, *near.tolist()])
    return st.floats(width=32, allow_nan=False, allow_infinity=False)


PIXELS = st.booleans().flatmap(
    lambda ties: st.lists(
        st.tuples(values(ties=ties), st.sampled_from([0, 1, 255])), min_size=2, max_size=60
    )
)


def has_both(labels) -> bool:
    return {0, 1} <= set(np.asarray(labels).tolist())
