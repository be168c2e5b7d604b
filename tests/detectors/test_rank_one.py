"""RankFeat against NumPy's SVD, dense and image-level, and in limiting cases."""

import numpy as np
import pytest
import torch
import toy_networks
from torch import nn

from ood_seg.detectors import Network, RankFeat
from ood_seg.detectors.rank_one import without_rank_one
from ood_seg.scores import energy


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (2, 20, 3, 4), (1, 12, 12)])
def test_equals_the_singular_value_decomposition(shape):
    maps = torch.rand(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = without_rank_one(maps)
    for before, after in zip(maps.flatten(2).numpy(), found.flatten(2).numpy(), strict=True):
        left, values, right = np.linalg.svd(before, full_matrices=False)
        expected = before - values[0] * np.outer(left[:, 0], right[0])
        np.testing.assert_allclose(after, expected, atol=1e-10)


def test_float32_is_as_good_as_its_rounding():
    maps = 100 * torch.rand(1, 16, 40, 50, generator=torch.Generator().manual_seed(0))
    error = without_rank_one(maps).double() - without_rank_one(maps.double())
    assert error.abs().max() < 1e-3  # of values up to 100


def test_a_map_of_rank_one_vanishes():
    maps = torch.rand(1, 4, 1) * torch.rand(1, 1, 6)
    assert without_rank_one(maps).abs().max() < 1e-5
    assert torch.equal(without_rank_one(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


def test_dense_score_is_the_energy_of_what_remains():
    network = toy_networks.dense()
    images, _ = toy_networks.images_and_labels(3)
    outputs = network(images, ("penultimate",))
    found = RankFeat()(outputs, network)
    rest = without_rank_one(outputs.features["penultimate"])
    assert found.shape == (3, 4, 6)
    assert torch.allclose(found, energy(network.classify(rest)), atol=1e-5)
    assert not torch.allclose(found, energy(outputs.logits), atol=0.1)
    # The images of a batch are independent.
    alone = RankFeat()(network(images[1:2], ("penultimate",)), network)
    assert torch.allclose(found[1:2], alone, atol=1e-5)


def test_image_level_score_reads_the_map_before_pooling():
    network = toy_networks.image_level()
    images, _ = toy_networks.images_and_labels(3)
    score = RankFeat("1")
    outputs = network(images, score.layers)
    rest = without_rank_one(outputs.features["1"]).mean(dim=(2, 3))
    assert torch.allclose(score(outputs, network), energy(network.classify(rest)), atol=1e-5)
    with pytest.raises(ValueError, match=r"map.*'penultimate'.*\(3, 6\).*`layer`"):
        RankFeat()(network(images, ("penultimate",)), network)


def test_other_layers_are_refused():
    network = toy_networks.two_sizes()
    images, _ = toy_networks.images_and_labels()
    with pytest.raises(ValueError, match=r"\b5 channels.*'0'.*\(5, 6, 4, 6\)"):
        RankFeat("0")(network(images, ("0",)), network)
    with pytest.raises(ValueError, match=r"layer 'penultimate'.*none"):
        RankFeat()(network(images), network)
    wide = nn.Sequential(nn.Conv2d(3, 4, 3))
    odd = Network(wide.requires_grad_(False), classifier="0")
    outputs = odd(images, ("penultimate",))
    with pytest.raises(ValueError, match=r"linear layer.*Conv2d"):
        RankFeat()(outputs, odd)
