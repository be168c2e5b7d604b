"""Gram matrices against a slow loop, over batches and processes, and on dense networks."""

import numpy as np
import pytest
import torch
import toy_networks
from process_group import process_group, run_on_ranks

from ood_seg.detectors import FITTED, IMAGE_LEVEL, GramMatrices
from ood_seg.detectors.gram_matrices import gram_statistics

LAYERS = ("0", "1", "penultimate")


def data(count=60):
    images, _ = toy_networks.images_and_labels(count)
    labels = torch.arange(count) % 4
    labels[3], labels[17] = 254, 255
    return images, labels


def slow_statistics(feature, order):
    """One image `(D, *)`: the matrix, then its row sums."""
    maps = feature.reshape(len(feature), -1) ** order
    sums = (maps @ maps.T).sum(axis=1)
    return np.sign(sums) * np.abs(sums) ** (1 / order)


@pytest.mark.parametrize("shape", [(2, 4, 3, 5), (2, 4)])
def test_statistics_equal_slow_loop(shape):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = gram_statistics(features, (1, 2, 3, 10))
    for index, feature in enumerate(features.numpy()):
        for number, order in enumerate((1, 2, 3, 10)):
            expected = slow_statistics(feature, order)
            np.testing.assert_allclose(found[index, number].numpy(), expected, rtol=1e-8)


def test_powers_do_not_overflow():
    features = 1e4 * torch.rand(1, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    found = gram_statistics(features, (10,))
    assert found.isfinite().all()
    expected = slow_statistics(features[0].double().numpy(), 10)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, rtol=1e-4)
    assert not gram_statistics(torch.zeros(1, 4, 3), (1, 10)).any()


def slow_deviation(values, smallest, largest):
    total = 0
    for value, low, high in zip(values.ravel(), smallest.ravel(), largest.ravel(), strict=True):
        total += max(low - value, 0) / abs(low + 1e-6) + max(value - high, 0) / abs(high + 1e-6)
    return total


def test_detector_equals_slow_loop():
    network = toy_networks.image_level()
    images, labels = data()
    orders = (1, 3)
    fitter = GramMatrices.fitter(LAYERS, orders)
    score = GramMatrices(toy_networks.fitted(fitter, network, images, labels, (7, 30)))
    outputs = network(images, LAYERS)
    values = [
        np.stack([
            np.stack([slow_statistics(one, order) for order in orders])
            for one in outputs.features[name].double().numpy()
        ])
        for name in LAYERS
    ]  # fmt: skip
    predicted = outputs.logits.argmax(dim=1).numpy()
    known = np.flatnonzero(labels.numpy() < 254)
    held = known[9::10]
    fitting = np.setdiff1d(known, held)
    expected = np.zeros(len(images))
    for part in values:
        ranges = {}
        for index in range(4):
            rows = part[[i for i in fitting if predicted[i] == index] or fitting]
            ranges[index] = rows.min(axis=0), rows.max(axis=0)
        mean = np.mean([slow_deviation(part[i], *ranges[predicted[i]]) for i in held])
        for i in range(len(images)):
            expected[i] += slow_deviation(part[i], *ranges[predicted[i]]) / (mean or 1)
    np.testing.assert_allclose(score(outputs, network).numpy(), expected, rtol=1e-3, atol=1e-4)
    assert not expected[fitting].any()
    assert expected[held].any()
    far = network(10 * images[:5], LAYERS)
    assert (score(far, network) > expected.max()).all()


def _fitter(images, labels, indices):
    network = toy_networks.image_level()
    fitter = GramMatrices.fitter(LAYERS, (1, 2))
    for index in indices:
        part = slice(index, index + 1)
        fitter.update(network(images[part], LAYERS), labels[part], network)
    fitter.reduce()
    return fitter.result()


def _rank(rank, folder):
    images, labels = data()
    images, labels = images[labels < 254], labels[labels < 254]
    with process_group(rank, 3, folder):
        section = _fitter(images, labels, range(rank, 40, 3))
        torch.save(section.tensors, f"{folder}/{rank}")


def test_three_processes_equal_one(tmp_path):
    images, labels = data()
    images, labels = images[labels < 254], labels[labels < 254]
    expected = _fitter(images, labels, range(40)).tensors
    run_on_ranks(_rank, str(tmp_path), number=3)
    for rank in range(3):
        found = torch.load(tmp_path / str(rank))
        assert found.keys() == expected.keys()
        for name, value in found.items():
            torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_dense_networks_are_refused():
    assert "gram" in IMAGE_LEVEL
    assert "gram" not in FITTED
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    with pytest.raises(ValueError, match=r"Gram.*whole images.*\(5, 4, 4, 6\)"):
        toy_networks.fitted(GramMatrices.fitter(["0"]), network, images, labels)


def test_bad_input():
    network = toy_networks.image_level()
    images, labels = data()
    with pytest.raises(ValueError, match=r"\b10 known images.*\b7\b"):
        toy_networks.fitted(GramMatrices.fitter(["0"]), network, images[:8], labels[:8])
    with pytest.raises(ValueError, match=r"10 known images.*\b0\b"):
        toy_networks.fitted(GramMatrices.fitter(["0"]), network, images, labels * 0 + 255)
    with pytest.raises(ValueError, match=r"layers.*'0'"):
        GramMatrices.fitter("0")
    with pytest.raises(ValueError, match=r"orders.*0"):
        GramMatrices.fitter(["0"], [0, 1])
    images[1, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"infinite or NaN"):
        toy_networks.fitted(GramMatrices.fitter(["0"]), network, images, labels)
