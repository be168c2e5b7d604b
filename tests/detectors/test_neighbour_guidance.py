"""NNGuide against slow loops and by hand."""

import numpy as np
import pytest
import torch
import toy_networks

from ood_seg.detectors import NNGuide, nearest_neighbours
from ood_seg.detectors.neighbour_guidance import guidance
from ood_seg.scores import energy

BUILDS = [toy_networks.dense, toy_networks.image_level]


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("k", [1, 3])
def test_equals_slow_loop(build, k, monkeypatch):
    monkeypatch.setattr(nearest_neighbours, "_HELD", 60)  # few rows at a time
    network = build()
    images, labels = toy_networks.images_and_labels(8)
    labels = labels if build is toy_networks.dense else torch.tensor([0, 1, 2, 3, 0, 1, 254, 255])
    statistics = toy_networks.fitted(NNGuide.fitter(bank_size=10**6), network, images, labels, (3,))
    outputs = network(images, ("penultimate",))
    features = outputs.features["penultimate"].double().movedim(1, -1)
    confidence = -energy(network.classify(outputs.features["penultimate"])).double()
    known = (labels[:, 1::2, 1::2] if labels.ndim == 3 else labels) < 254
    bank = [
        row / max(np.linalg.norm(row), 1e-12) * c
        for row, c in zip(features[known].numpy(), confidence[known].numpy(), strict=True)
    ]
    found = NNGuide(statistics, k)(outputs, network)
    for index in np.ndindex(*found.shape):
        row = features[index].numpy()
        row = row / max(np.linalg.norm(row), 1e-12)
        nearest = sorted((row @ other for other in bank), reverse=True)[:k]
        expected = -np.mean(nearest) * confidence[index].item()
        assert found[index].item() == pytest.approx(expected, abs=1e-5)


def test_by_hand_and_limits():
    bank = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert guidance(rows, bank, 1).tolist() == pytest.approx([1.2, 0])
    assert guidance(rows, bank, 2).tolist() == pytest.approx([1.0, 0])
    assert guidance(rows[:0], bank, 1).shape == (0,)
    assert torch.allclose(guidance(7 * rows, bank, 1), guidance(rows, bank, 1))


def test_bank_of_equal_rows_gives_the_scaled_energy():
    """Where the bank is the activation itself, the guidance is the confidence."""
    network = toy_networks.dense()
    images, _ = toy_networks.images_and_labels(1)
    outputs = network(images, ("penultimate",))
    one = outputs.features["penultimate"][:, :, 2:3, 2:3]
    same = outputs._replace(features={"penultimate": one}, logits=outputs.logits[:, :, 2:3, 2:3])
    fitter = NNGuide.fitter()
    fitter.update(same, torch.zeros(1, 1, 1, dtype=torch.long), network)
    statistics = toy_networks.StatisticsFile({"nnguide": fitter.result()})
    confidence = -energy(network.classify(one))
    assert torch.allclose(NNGuide(statistics, 1)(same, network), -confidence.square(), atol=1e-5)


def test_bad_input():
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    with pytest.raises(ValueError, match=r"NNGuide.*\b1\b.*known pixels.*\b0\b"):
        toy_networks.fitted(NNGuide.fitter(), network, images, labels * 0 + 255)
    statistics = toy_networks.fitted(NNGuide.fitter(bank_size=5), network, images, labels)
    with pytest.raises(ValueError, match=r"\bk\b.*\b5\b.*\b6\b"):
        NNGuide(statistics, k=6)
    with pytest.raises(ValueError, match=r"features.*\(P, 3\).*\(2, 4\)"):
        guidance(torch.zeros(2, 4), torch.eye(3), 1)
    with pytest.raises(ValueError, match=r"\bk\b.*\b3\b.*\b4\b"):
        guidance(torch.zeros(2, 3), torch.eye(3), 4)
