"""Running moments against NumPy over all vectors at once, in any order, split and on two ranks."""

import numpy as np
import pytest
import torch
from process_group import process_group, run_on_ranks

from ood_seg.detectors.moments import ClassMoments, reduced

GENERATOR = torch.Generator().manual_seed(4)
CLASSES = torch.randint(0, 4, (500,), generator=GENERATOR)
CLASSES[CLASSES == 2] = 3  # class 2 never occurs
CLASSES[::7] = 255
CLASSES[3::11] = 254
VALUES = torch.randn(500, 3, generator=GENERATOR) * 2 + CLASSES[:, None].clamp(max=5)


def expected(values=VALUES, classes=CLASSES, num_classes=4):
    """Counts, means and scatters by plain loops over the classes."""
    values, classes = values.double().numpy(), classes.numpy()
    counts = np.array([(classes == index).sum() for index in range(num_classes)])
    means = np.zeros((num_classes, values.shape[1]))
    scatter = np.zeros((num_classes, values.shape[1], values.shape[1]))
    for index in range(num_classes):
        if counts[index]:
            own = values[classes == index]
            means[index] = own.mean(axis=0)
            for vector in own - means[index]:
                scatter[index] += np.outer(vector, vector)
    return counts, means, scatter


def gathered(pieces, scatter="class", num_classes=4):
    moments = ClassMoments(num_classes, scatter=scatter)
    for piece in pieces:
        moments.update(VALUES[piece], CLASSES[piece])
    return moments


def assert_is(moments, counts, means, scatter, rtol=1e-11):
    np.testing.assert_array_equal(moments.counts, counts)
    np.testing.assert_allclose(moments.means, means, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(moments.scatter, scatter, rtol=rtol, atol=1e-9)


@pytest.mark.parametrize("pieces", [[slice(None)], [slice(0, 1), slice(1, 90), slice(90, 500)]])
def test_moments_are_those_of_all_vectors(pieces):
    counts, means, scatter = expected()
    assert_is(gathered(pieces), counts, means, scatter)
    assert_is(gathered(pieces, "tied"), counts, means, scatter.sum(axis=0))


def test_hand_worked():
    moments = ClassMoments(2)
    moments.update(torch.tensor([[1.0], [3.0], [10.0], [99.0]]), torch.tensor([0, 0, 1, 255]))
    assert moments.means.flatten().tolist() == [2, 10]
    assert moments.scatter.item() == 2
    assert moments.covariance().item() == pytest.approx(2 / 3)
    assert moments.pooled().means.item() == pytest.approx(14 / 3)
    assert moments.pooled().scatter.item() == pytest.approx(1 + 9 + 100 - 14**2 / 3)


@pytest.mark.parametrize("scatter", ["tied", "class"])
def test_merging_in_any_order_is_the_same(scatter):
    whole = gathered([slice(None)], scatter)
    parts = [slice(400, 500), slice(0, 0), slice(0, 150), slice(150, 400)]
    merged = ClassMoments(4, scatter=scatter)
    for part in parts:
        merged.merge(gathered([part], scatter))
    merged.merge(ClassMoments(4, scatter=scatter))
    assert_is(merged, whole.counts, whole.means, whole.scatter)


def test_chunks_do_not_matter(monkeypatch):
    whole = gathered([slice(None)])
    monkeypatch.setattr("ood_seg.detectors.moments._CHUNK", 13)
    assert_is(gathered([slice(None)]), whole.counts, whole.means, whole.scatter)


def test_no_precision_is_lost_far_from_zero():
    values = VALUES.double() + 1e8
    moments = ClassMoments(1)
    for piece in values.split(50):
        moments.update(piece)
    np.testing.assert_allclose(
        moments.covariance(ddof=1), np.cov(VALUES.double().numpy().T), rtol=1e-6
    )


@pytest.mark.parametrize("scatter", ["tied", "class"])
def test_pooled_is_the_covariance_of_all(scatter):
    known = VALUES[CLASSES < 4].double().numpy()
    pooled = gathered([slice(0, 100), slice(100, 500)], scatter).pooled()
    np.testing.assert_allclose(pooled.means[0], known.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(pooled.covariance(), np.cov(known.T, ddof=0), rtol=1e-12)


def test_covariance_of_a_class_with_too_few_vectors_is_nan():
    covariance = gathered([slice(None)]).covariance(ddof=1)
    own = VALUES[CLASSES == 1].double().numpy()
    np.testing.assert_allclose(covariance[1], np.cov(own.T), rtol=1e-11)
    assert covariance[2].isnan().all()


def test_half_precision_and_integer_types():
    moments = ClassMoments(4, scatter="none")
    moments.update(VALUES.half(), CLASSES.to(torch.uint8))
    np.testing.assert_allclose(moments.means, expected(VALUES.half())[1], rtol=1e-12)
    assert moments.scatter is None


def test_bad_input():
    moments = ClassMoments(3)
    with pytest.raises(ValueError, match=r"\(P, D\).*\(3, 2\).*\(4,\)"):
        moments.update(torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels.*0\.\.2.*0\.\.3"):
        moments.update(torch.zeros(3, 2), torch.tensor([0, 3, 255]))
    with pytest.raises(ValueError, match=r"\b2\b.*\b5\b"):
        moments.update(torch.zeros(3, 5))
    with pytest.raises(ValueError, match=r"merge.*\bclass\b.*\btied\b|\bclass\b.*merge.*\btied\b"):
        moments.merge(ClassMoments(3, scatter="class"))
    with pytest.raises(ValueError, match="no vectors"):
        ClassMoments(2).covariance()
    with pytest.raises(ValueError, match=r"scatter.*'tied'.*'class'.*'none'.*'full'"):
        ClassMoments(2, scatter="full")
    with pytest.raises(ValueError, match=r"num_classes.*\b254\b.*\b0\b"):
        ClassMoments(0)


def run_rank(rank: int, folder: str) -> None:
    with process_group(rank, 3, folder):
        pieces = [[slice(0, 20)], [slice(20, 500)], []][rank]  # the last rank has no vectors
        for scatter in ("tied", "class"):
            moments = reduced(gathered(pieces, scatter))
            torch.save(
                (moments.counts, moments.means, moments.scatter), f"{folder}/{scatter}{rank}"
            )
        assert reduced(ClassMoments(2)).means.shape == (2, 0)
        assert reduced(None) is None


def test_moments_of_three_processes_equal_those_of_one(tmp_path):
    run_on_ranks(run_rank, str(tmp_path), number=3)
    for scatter in ("tied", "class"):
        whole = gathered([slice(None)], scatter)
        for rank in range(3):
            counts, means, total = torch.load(tmp_path / f"{scatter}{rank}")
            assert_is(whole, counts, means, total)
