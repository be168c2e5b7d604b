"""ReAct, ASH and SCALE against slow loops, by hand, and in limiting cases."""

import warnings

import numpy as np
import pytest
import torch
import toy_networks

from ood_seg.detectors import Network, Outputs
from ood_seg.detectors.clipped import VRA, ReAct, rectify_activations
from ood_seg.detectors.rectified import ASH, SCALE, scale_activations, shape_activations
from ood_seg.scores import energy

BUILDS = [toy_networks.dense, toy_networks.image_level]


def slow_ash(row, percentile, variant):
    """One sample, as in algorithms 1-3."""
    row = np.maximum(row, 0)
    count = len(row) - int(np.round(len(row) * percentile / 100))
    kept = np.argsort(-row, kind="stable")[:count]
    before, after = row.sum(), row[kept].sum()
    found = np.zeros_like(row)
    if variant == "P":
        found[kept] = row[kept]
    elif variant == "B":
        found[kept] = before / count
    elif after > 0:
        found[kept] = row[kept] * np.exp(before / after)
    return found


def slow_scale(row, percentile):
    count = len(row) - int(np.round(len(row) * percentile / 100))
    largest = np.sort(np.maximum(row, 0))[::-1][:count]
    return row * np.exp(np.maximum(row, 0).sum() / largest.sum())


def outputs_of(build, count=3):
    network = build()
    images = toy_networks.images_and_labels(count, seed=5)[0]
    return network, network(images, ("penultimate",))


@pytest.mark.parametrize("variant", ["S", "B", "P"])
@pytest.mark.parametrize("percentile", [0, 35, 60, 90])
def test_ash_equals_slow_loop(variant, percentile):
    features = torch.randn(2, 10, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    found = shape_activations(features, percentile, variant)
    for n, h, w in np.ndindex(2, 3, 4):
        expected = slow_ash(features[n, :, h, w].numpy(), percentile, variant)
        np.testing.assert_allclose(found[n, :, h, w].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("percentile", [0, 35, 85])
def test_scale_equals_slow_loop(percentile):
    features = torch.randn(2, 10, 3, generator=torch.Generator().manual_seed(0)).double()
    found = scale_activations(features, percentile)
    for n, h in np.ndindex(2, 3):
        expected = slow_scale(features[n, :, h].numpy(), percentile)
        np.testing.assert_allclose(found[n, :, h].numpy(), expected, rtol=1e-12)


def test_by_hand():
    row = torch.tensor([[1.0, 4.0, 3.0, 2.0]])
    assert shape_activations(row, 50, "P").tolist() == [[0, 4, 3, 0]]
    assert shape_activations(row, 50, "B").tolist() == [[0, 5, 5, 0]]
    factor = np.exp(10 / 7)
    expected = [0, 4 * factor, 3 * factor, 0]
    assert shape_activations(row, 50, "S")[0].tolist() == pytest.approx(expected)
    expected = [value * factor for value in (1, 4, 3, 2)]
    assert scale_activations(row, 50)[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("width", "percentile", "removed"),
    [(16, 60, 10), (16, 65, 10), (16, 40, 6), (10, 25, 2), (10, 35, 4), (3, 99, 2), (16, 99, 15)],
)
def test_number_of_removed_channels_is_rounded(width, percentile, removed):
    """To the nearest, halves to the even number as `numpy.round` does; one always remains."""
    row = torch.rand(1, width, generator=torch.Generator().manual_seed(0)) + 1
    assert (shape_activations(row, percentile, "P") == 0).sum() == removed
    ratio = row.sum() / row.topk(width - removed).values.sum()
    assert torch.allclose(scale_activations(row, percentile), row * ratio.exp())


@pytest.mark.parametrize("build", BUILDS)
def test_limits(build):
    network, outputs = outputs_of(build)
    plain = energy(outputs.logits)
    assert torch.allclose(ASH("P", 0)(outputs, network), plain, atol=1e-6)
    scaled = energy(network.classify(outputs.features["penultimate"] * np.e))
    assert torch.allclose(ASH("S", 0)(outputs, network), scaled, atol=1e-5)
    assert torch.allclose(SCALE(0)(outputs, network), scaled, atol=1e-5)
    one = outputs.features["penultimate"].mean(dim=1, keepdim=True)
    equal = energy(network.classify(one.expand_as(outputs.features["penultimate"])))
    assert torch.allclose(ASH("B", 0)(outputs, network), equal, atol=1e-5)


def test_zero_activations_and_the_inputs():
    features = torch.zeros(1, 5, 2)
    for found in (
        *(shape_activations(features, 80, v) for v in "SBP"),
        scale_activations(features, 9),
    ):
        assert torch.equal(found, features)
    features = torch.randn(1, 5, 2)
    before = features.clone()
    shape_activations(features, 80)
    scale_activations(features, 80)
    assert torch.equal(features, before)


def test_negative_activations_count_as_zero_in_the_sums_only():
    row = torch.tensor([[-5.0, 2.0, 1.0]])
    factor = np.exp(3 / 2)
    assert shape_activations(row, 67)[0].tolist() == pytest.approx([0, 2 * factor, 0])
    assert scale_activations(row, 67)[0].tolist() == pytest.approx(
        [-5 * factor, 2 * factor, factor]
    )


def test_wide_activations_stay_finite():
    even = torch.ones(1, 4096)
    assert shape_activations(even, 99.9).isfinite().all()
    assert scale_activations(even, 99.9).isfinite().all()


def test_samples_are_pixels():
    """The score of a pixel does not depend on its image."""
    network, outputs = outputs_of(toy_networks.dense)
    corner = outputs._replace(
        features={"penultimate": outputs.features["penultimate"][1:, :, :2, :2]}
    )
    for score in (ASH("S"), ASH("B"), ASH("P"), SCALE()):
        whole = score(outputs, network)[1:, :2, :2]
        assert torch.allclose(score(corner, network), whole, atol=1e-5)


def test_permutation_of_the_channels_changes_nothing():
    features = torch.rand(2, 9, 3)
    order = torch.randperm(9)
    assert torch.allclose(
        shape_activations(features[:, order], 70), shape_activations(features, 70)[:, order]
    )


@pytest.mark.parametrize("build", BUILDS)
def test_react_equals_slow_clipping(build):
    network = build()
    images, labels = toy_networks.images_and_labels(8)
    labels = labels if build is toy_networks.dense else torch.tensor([0, 1, 2, 3, 0, 1, 254, 255])
    statistics = toy_networks.fitted(ReAct.fitter(), network, images, labels, (3, 5))
    outputs = network(images, ("penultimate",))
    features = outputs.features["penultimate"]
    at = labels[:, 1::2, 1::2] if labels.ndim == 3 else labels
    known = features.movedim(1, -1)[at < 254].numpy()
    threshold = np.sort(known, axis=None)[int(0.7 * (known.size - 1))]
    score = ReAct(statistics, percentile=70)
    assert score.threshold == pytest.approx(np.quantile(known, 0.7), abs=1e-6)
    assert score.threshold >= threshold
    expected = energy(network.classify(features.clamp(max=score.threshold)))
    assert torch.allclose(score(outputs, network), expected, atol=1e-6)
    assert not torch.allclose(expected, energy(outputs.logits))


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("amplification", [0.0, 0.6])
def test_vra_equals_slow_rectification(build, amplification):
    network = build()
    images, labels = toy_networks.images_and_labels(8)
    labels = labels if build is toy_networks.dense else torch.tensor([0, 1, 2, 3, 0, 1, 254, 255])
    statistics = toy_networks.fitted(ReAct.fitter(), network, images, labels, (3, 5))
    outputs = network(images, ("penultimate",))
    features = outputs.features["penultimate"]
    at = labels[:, 1::2, 1::2] if labels.ndim == 3 else labels
    known = features.movedim(1, -1)[at < 254].numpy()
    low, high = np.quantile(known, [0.3, 0.8])
    score = VRA(statistics, lower=30, upper=80, amplification=amplification)
    assert score.thresholds == pytest.approx((low, high), abs=1e-6)
    rectified = features.clone()
    for index in np.ndindex(*features.shape):
        value = features[index].item()
        if value < low:
            rectified[index] = 0
        elif value > high:
            rectified[index] = high
        else:
            rectified[index] = value + amplification
    expected = energy(network.classify(rectified))
    assert torch.allclose(score(outputs, network), expected, atol=1e-5)


def test_vra_without_a_lower_threshold_is_react():
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    statistics = toy_networks.fitted(ReAct.fitter(), network, images, labels)
    outputs = network(images, ("penultimate",))
    found = VRA(statistics, lower=0, upper=80)(outputs, network)
    assert torch.allclose(found, ReAct(statistics, 80)(outputs, network), atol=1e-6)
    row = torch.tensor([[-1.0, 0.5, 1.0, 2.0, 3.0, torch.nan]])
    expected = torch.tensor([[0.0, 0.0, 1.1, 2.1, 2.0, torch.nan]])
    found = rectify_activations(row, 1.0, 2.0, 0.1)
    assert torch.allclose(found, expected, equal_nan=True)


def test_react_at_percentile_100_is_the_energy():
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    labels[labels >= 254] = 0
    statistics = toy_networks.fitted(ReAct.fitter(), network, images, labels)
    outputs = network(images, ("penultimate",))
    found = ReAct(statistics, percentile=100)(outputs, network)
    assert torch.allclose(found, energy(outputs.logits), atol=1e-6)


def test_half_precision_network():
    network, outputs = outputs_of(toy_networks.dense)
    network.module.half()
    features = {"penultimate": outputs.features["penultimate"].half()}
    half = outputs._replace(features=features)
    for score in (ASH("S"), SCALE(), ASH("P")):
        found = score(half, network)
        assert found.dtype == torch.float32
        assert found.isfinite().all()


def test_bad_input():
    with pytest.raises(ValueError, match=r"variant.*'S'.*'B'.*'P'.*'X'"):
        ASH("X")
    with pytest.raises(ValueError, match=r"variant.*'s'"):
        shape_activations(torch.zeros(1, 2), 50, "s")
    for wrong in (-1, 100, float("nan")):
        with pytest.raises(ValueError, match=rf"percentile.*\[0, 100\).*{wrong}"):
            SCALE(wrong)
        with pytest.raises(ValueError, match=rf"percentile.*\[0, 100\).*{wrong}"):
            ASH(percentile=wrong)
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    statistics = toy_networks.fitted(ReAct.fitter(), network, images, labels)
    with pytest.raises(ValueError, match=r"percentile.*\[0, 100\].*101"):
        ReAct(statistics, 101)
    for wrong in ((70, 60), (-1, 50), (50, 101), (float("nan"), 50)):
        with pytest.raises(ValueError, match=rf"\[0, 100\].*{wrong[0]}.*{wrong[1]}"):
            VRA(statistics, *wrong)
    with pytest.raises(ValueError, match=r"ReAct.*\b1\b.*known pixels.*\b0\b"):
        toy_networks.fitted(ReAct.fitter(), network, images, labels * 0 + 254)


def test_too_few_kept_channels_give_a_warning():
    def run(score, channels):
        classifier = torch.nn.Conv2d(channels, 3, 1)
        network = Network(torch.nn.Sequential(classifier), classifier="0")
        features = torch.rand(1, channels, 2, 2)
        score(Outputs(torch.zeros(1, 3, 2, 2), {"penultimate": features}), network)

    with pytest.warns(UserWarning, match=r"ASH.*\b90\b.*\b2\b.*\b16\b"):
        run(ASH("S"), 16)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(ASH("S"), 256)
        run(ASH("S", percentile=40), 16)
        run(ASH("S", percentile=0), 3)  # nothing is removed
        run(SCALE(), 16)  # also removes nothing


@pytest.mark.parametrize("shape", [(2, 16, 5, 7), (40, 33)])
@pytest.mark.parametrize("percentile", [0.0, 35.0, 65.0, 90.0, 99.0])
def test_of_equal_activations_the_lower_channels_are_kept(shape, percentile):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(2).round().relu()
    shaped = shape_activations(features + 1, percentile, "P")  # what is removed becomes 0
    order = (features + 1).argsort(dim=1, descending=True, stable=True)
    count = max(1, shape[1] - round(shape[1] * percentile / 100))
    kept = torch.zeros(shape, dtype=torch.bool).scatter_(1, order[:, :count], True)
    assert torch.equal(shaped, (features + 1) * kept)
