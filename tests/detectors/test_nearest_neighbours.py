"""kNN against scikit-learn and by hand; its invariances."""

import math

import numpy as np
import pytest
import torch
import toy_networks
from sklearn.neighbors import NearestNeighbors

from ood_seg.detectors import StatisticsFile, nearest_neighbours
from ood_seg.detectors.nearest_neighbours import NearestNeighbours, kth_distance

NETWORKS = [toy_networks.dense, toy_networks.image_level]


def known_data(build):
    images, labels = toy_networks.images_and_labels()
    return images, labels if build is toy_networks.dense else torch.tensor([0, 1, 255, 254, 3])


@pytest.mark.parametrize("k", [1, 3, 20])
def test_equals_scikit_learn(k, monkeypatch):
    monkeypatch.setattr(nearest_neighbours, "_HELD", 60)  # three rows at a time
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    bank = torch.nn.functional.normalize(
        torch.randn(20, 4, generator=generator, dtype=torch.float64), dim=1
    )
    distances, _ = (
        NearestNeighbors(n_neighbors=k)
        .fit(bank.numpy())
        .kneighbors((features / features.norm(dim=1, keepdim=True)).numpy())
    )
    assert torch.allclose(kth_distance(features, bank, k), torch.from_numpy(distances[:, -1]))


def test_by_hand():
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    found = [kth_distance(torch.tensor([[5.0, 0.0]]), bank, k).item() for k in (1, 2, 3)]
    assert found == pytest.approx([0, math.sqrt(2), 2])


def test_small_distances_keep_their_order_in_float32():
    angles = torch.linspace(0, 1e-3, 50, dtype=torch.float64)
    features = torch.stack([angles.cos(), angles.sin()], dim=1).float()
    found = kth_distance(features, torch.tensor([[1.0, 0.0]]), 1)
    assert (found.diff() > 0).all()


def test_length_of_a_feature_does_not_matter():
    features, bank = torch.rand(9, 3), torch.eye(3)
    assert torch.allclose(kth_distance(features, bank, 2), kth_distance(features * 7, bank, 2))


def test_a_row_of_zeros_and_no_rows():
    assert kth_distance(torch.zeros(1, 3), torch.eye(3), 1).item() == 1
    assert kth_distance(torch.zeros(0, 3), torch.eye(3), 1).shape == (0,)


@pytest.mark.parametrize("build", NETWORKS)
def test_detector_equals_slow_loop(build):
    network = build()
    images, labels = known_data(build)
    statistics = toy_networks.fitted(
        NearestNeighbours.fitter(bank_size=1000), network, images, labels
    )
    score = NearestNeighbours(statistics, k=2)
    features = network(images, score.layers).features["penultimate"]
    found = score(network(images, score.layers), network)
    bank = [row.double().numpy() for row in statistics.methods["knn"].tensors["bank"]]
    assert found.shape == (len(images), *features.shape[2:])
    for index in np.ndindex(*found.shape):
        row = features[(index[0], slice(None), *index[1:])].double().numpy()
        row = row / max(np.linalg.norm(row), 1e-12)
        nearest = sorted(np.linalg.norm(row - other) for other in bank)
        assert found[index].item() == pytest.approx(nearest[1], abs=1e-5)


@pytest.mark.parametrize("build", NETWORKS)
def test_bank_holds_only_known_pixels_for_any_batches(build):
    network = build()
    images, labels = known_data(build)
    one = toy_networks.fitted(NearestNeighbours.fitter(), network, images, labels)
    other = toy_networks.fitted(NearestNeighbours.fitter(), network, images, labels, (1, 3))
    banks = [found.methods["knn"].tensors["bank"] for found in (one, other)]
    assert torch.allclose(*banks, atol=1e-6)
    assert len(banks[0]) == one.methods["knn"].options["pixels_seen"]
    assert len(banks[0]) == (3 if labels.ndim == 1 else 5 * (4 * 6 - 6 - 2 - 0))


def test_half_precision_features():
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    score = NearestNeighbours(
        toy_networks.fitted(NearestNeighbours.fitter(), network, images, labels), k=3
    )
    outputs = network(images, score.layers)
    half = outputs._replace(features={k: v.half() for k, v in outputs.features.items()})
    found = score(half, network)
    assert found.dtype == torch.float32
    assert torch.allclose(found, score(outputs, network), atol=5e-3)


def test_balanced_bank():
    network = toy_networks.dense()
    fitter = NearestNeighbours.fitter(bank_size=8, num_classes=4)
    toy_networks.fitted(fitter, network, *toy_networks.images_and_labels())
    assert torch.bincount(fitter.reservoir.labels).tolist() == [2, 2, 2, 2]


def test_bad_input(tmp_path):
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    with pytest.raises(ValueError, match=r"\b1\b.*known pixels.*\b0\b"):
        toy_networks.fitted(NearestNeighbours.fitter(), network, images, labels * 0 + 255)
    with pytest.raises(ValueError, match=r"Sequential.*'penultimat'.*[0-9]"):
        toy_networks.fitted(NearestNeighbours.fitter(layer="penultimat"), network, images, labels)
    statistics = toy_networks.fitted(NearestNeighbours.fitter(bank_size=5), network, images, labels)
    statistics.save(tmp_path / "statistics.pth")
    with pytest.raises(ValueError, match=r"\bk\b.*\b5\b.*statistics\.pth.*\b6\b"):
        NearestNeighbours(tmp_path / "statistics.pth", k=6)
    with pytest.raises(ValueError, match=r"weights.*[0-9a-f]{12}.*[0-9a-f]{12}"):
        NearestNeighbours(statistics, k=1).check_model(toy_networks.dense(seed=9))
    with pytest.raises(ValueError, match=r"'knn'.*none"):
        NearestNeighbours(StatisticsFile({}))
    with pytest.raises(ValueError, match=r"features.*\(P, 3\).*\(2, 4\)"):
        kth_distance(torch.zeros(2, 4), torch.eye(3), 1)
    with pytest.raises(ValueError, match=r"\bk\b.*\b3\b.*\b4\b"):
        kth_distance(torch.zeros(2, 3), torch.eye(3), 4)
