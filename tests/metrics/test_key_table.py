"""Ranking by counting equals ranking by sorting, wherever it is taken."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ood_seg.metrics import key_table, ranking
from ood_seg.metrics.key_table import KeyTable

CLOSE = st.floats(-11.0, -10.0, width=32) | st.sampled_from([-10.5, -10.25])


def assert_equal_ranks(known: list[np.ndarray], anomalous: np.ndarray) -> None:
    distinct = np.unique(anomalous)
    table = KeyTable(distinct, sum(part.size for part in known))
    rest = list(table.counted(known))
    below, equal = table.ranks()
    sorted_below, sorted_equal = ranking._rank_by_sorting(rest, distinct)
    joined = np.concatenate(known)
    assert (below + sorted_below).tolist() == [(joined < score).sum() for score in distinct]
    assert (equal + sorted_equal).tolist() == [(joined == score).sum() for score in distinct]


@settings(deadline=None)
@given(arrays(np.float32, st.integers(1, 30), elements=CLOSE), st.data())
def test_equals_a_comparison_with_every_score(anomalous, data):
    anywhere = CLOSE | st.floats(-30, 5, width=32)
    known = data.draw(arrays(np.float32, st.integers(1, 80), elements=anywhere))
    assert_equal_ranks([known], anomalous)


def test_hand_worked():
    table = KeyTable(np.array([-2.0, -1.0], np.float32), 20_000_000)
    known = np.array([-3, -2, -2, -1.5, -1, -0.5, 7], np.float32)
    assert list(table.counted([known])) == []
    below, equal = table.ranks()
    assert below.tolist() == [1, 4]
    assert equal.tolist() == [2, 1]


def test_one_distinct_score_and_both_zeros():
    assert_equal_ranks([np.array([-0.0, 0.0, 1e-40, -1e-40], np.float32)], np.zeros(2, np.float32))


def test_pieces_and_arrays_add_up(monkeypatch):
    monkeypatch.setattr(key_table, "_PIECE", 7)
    rng = np.random.default_rng(0)
    known = [rng.normal(-5, 0.1, size).astype(np.float32) for size in (0, 3, 50)]
    assert_equal_ranks(known, rng.normal(-5, 0.05, 20).astype(np.float32))


@settings(deadline=None)
@given(arrays(np.float32, st.integers(1, 30), elements=CLOSE), st.data())
def test_scores_above_a_table_that_is_cut_are_ranked_as_well(anomalous, data):
    known = data.draw(arrays(np.float32, 40, elements=CLOSE | st.floats(-30, 5, width=32)))
    for room in (1, 1000, 500_000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(key_table, "_room", lambda _, room=room: room)
            assert_equal_ranks([known], anomalous)


def test_other_types_are_passed_on():
    known = [np.array([-5.0, -4.0], np.float32), np.array([-4.5, -4.4999999999])]
    assert_equal_ranks(known, np.array([-5, -4.5, -4], np.float32))


def test_when_it_is_taken(monkeypatch):
    near = np.array([-1.5, -1.0], np.float32)  # 4.19 million numbers apart: a table of 16 MiB
    assert not KeyTable.fits(near, 4_100_000)  # less than half of it in 2 bytes a pixel
    assert KeyTable.fits(near, 4_200_000)
    assert not KeyTable.fits(near.astype(np.float64), 9_000_000)
    assert not KeyTable.fits(np.array([-1.0, 1.0], np.float32), 10**9)
    assert KeyTable.fits(near[:1], 1)
    assert not KeyTable.fits(near[:0], 1)
    assert not KeyTable.fits(near[:1], 2**32)

    def refuse(*_):
        raise AssertionError("no table was expected")

    monkeypatch.setattr(KeyTable, "__init__", refuse)
    far = np.array([-1.0, 1.0], np.float32)
    counts = ranking.rank_anomalous([np.zeros(3, np.float32)], far, 3)
    assert counts.known_below.tolist() == [0, 3]
    with pytest.raises(AssertionError, match="no table"):
        ranking.rank_anomalous([near], near[:1], 2)
