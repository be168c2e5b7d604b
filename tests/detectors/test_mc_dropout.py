"""MC dropout against a loop in training mode and by hand; it has no side effects."""

import math

import numpy as np
import pytest
import torch
import toy_networks
from torch import nn

from ood_seg.detectors import Network
from ood_seg.detectors.mc_dropout import MCDropout, active_dropout
from ood_seg.detectors.prediction_average import PredictionAverage

BUILDS = [toy_networks.dense, toy_networks.image_level]


def entropy_of(row):
    return float(-sum(p * math.log(p) for p in row if p > 0))


def test_average_equals_slow_loop():
    logits = 3 * torch.randn(5, 2, 4, 3, dtype=torch.float64)
    average = PredictionAverage.of(logits)
    probabilities = logits.softmax(dim=2).numpy()
    for n, h in np.ndindex(2, 3):
        rows = probabilities[:, n, :, h]
        total = entropy_of(rows.mean(0))
        assert average.uncertainty("predictive-entropy")[n, h].item() == pytest.approx(total)
        mutual = total - np.mean([entropy_of(row) for row in rows])
        assert average.uncertainty("mutual-information")[n, h].item() == pytest.approx(mutual)
    assert torch.allclose(average.logits, logits.mean(0))
    assert torch.allclose(average.probabilities, logits.softmax(dim=2).mean(0))


def test_average_by_hand():
    """Confident but contradicting predictions: log 2 and log 2; equal uniform ones: log 2 and 0."""
    first = torch.tensor([[50.0, -50.0], [0.0, 0.0]])
    average = PredictionAverage.of([first, first.flip(1)])
    assert average.uncertainty("predictive-entropy").tolist() == pytest.approx([math.log(2)] * 2)
    assert average.uncertainty("mutual-information").tolist() == pytest.approx([math.log(2), 0])


@pytest.mark.parametrize("build", BUILDS)
def test_mean_over_many_samples_is_that_of_training_mode(build):
    network = build(dropout=0.5)
    images = toy_networks.images_and_labels(1)[0]
    found = MCDropout(samples=3000)(network, images)[1]
    network.module.train()
    torch.manual_seed(0)
    rows = torch.stack([network(images).logits.softmax(dim=1) for _ in range(3000)]).mean(0)
    expected = torch.special.entr(rows).sum(dim=1)
    assert torch.allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("build", BUILDS)
def test_seeds_batches_and_side_effects(build):
    network = build(dropout=0.5)
    images = toy_networks.images_and_labels(4)[0]
    state = torch.get_rng_state()
    score = MCDropout(samples=4, score="mutual-information", seed=3)
    logits, found = score(network, images)
    assert torch.equal(logits, network(images).logits)
    assert torch.equal(score(network, images)[1], found)
    parts = torch.cat([score(network, images[:1])[1], score(network, images[1:])[1]])
    assert torch.allclose(parts, found, atol=1e-6)
    other = MCDropout(samples=4, score="mutual-information", seed=4)(network, images)[1]
    assert not torch.allclose(other, found)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in network.module.modules())
    assert not any(module._forward_hooks for module in network.module.modules())


def test_batch_norm_keeps_its_statistics():
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.3), nn.Conv2d(6, 4, 1)
    )
    network = Network(module.eval(), classifier="3")
    before = {name: value.clone() for name, value in module.state_dict().items()}
    MCDropout(samples=2)(network, toy_networks.images_and_labels(2)[0])
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("layer", "whole"),
    [(nn.Dropout(0.4), False), (nn.Dropout2d(0.4), True), (nn.Dropout(1.0), False)],
)
def test_what_is_dropped(layer, whole):
    module = nn.Sequential(layer).eval()
    generator = torch.Generator().manual_seed(0)
    with active_dropout(module, generator):
        found = module(torch.ones(2, 500, 4, 4))
    assert torch.equal(found[0], found[1])
    if layer.p == 1:
        assert not found.any()
        return
    values = found.unique().tolist()
    assert values == pytest.approx([0, 1 / 0.6])
    assert (found == 0).float().mean().item() == pytest.approx(0.4, abs=0.06 if whole else 0.02)
    together = (found.flatten(2).amax(dim=2) == found.flatten(2).amin(dim=2)).all()
    assert bool(together) == whole


def test_no_dropout_is_an_error():
    images = toy_networks.images_and_labels(1)[0]
    with pytest.raises(ValueError, match=r"Sequential.*1 with p = 0.*dropout_ratio"):
        MCDropout()(toy_networks.dense(dropout=0), images)
    plain = Network(nn.Sequential(nn.Conv2d(3, 4, 1)), classifier="0")
    with pytest.raises(ValueError, match=r"Sequential.*none.*dropout_ratio"):
        MCDropout().check_model(plain)

    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.dropout = nn.Conv2d(3, 4, 1), nn.Dropout(0.5)

        def forward(self, images):
            return self.layer(images)

    with pytest.raises(ValueError, match=r"dropout layer.*Unused"):
        MCDropout()(Network(Unused().eval(), classifier="layer"), images)


def test_bad_arguments():
    with pytest.raises(
        ValueError, match=r"score.*predictive-entropy.*mutual-information.*'variance'"
    ):
        MCDropout(score="variance")
    with pytest.raises(ValueError, match=r"predictive-entropy.*\b1\b.*\b0\b"):
        MCDropout(samples=0)
    with pytest.raises(ValueError, match=r"mutual-information.*\b2\b.*\b1\b"):
        MCDropout(samples=1, score="mutual-information")


def test_one_class_has_no_uncertainty():
    network = toy_networks.dense(classes=1, dropout=0.5)
    assert not MCDropout()(network, toy_networks.images_and_labels(1)[0])[1].any()
