"""Weighted energy against a slow loop, and the fit of its weights."""

import math

import numpy as np
import pytest
import torch
import toy_networks
from scipy.optimize import minimize

from ood_seg.detectors import Outputs, StatisticsFile, WeightedEnergy
from ood_seg.detectors.weighted_energy import fit_class_weights
from ood_seg.scores import energy, weighted_energy


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_equals_slow_loop(temperature):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 3, 5, generator=generator)
    weights = torch.tensor([0.5, 2.0, 0.0, -1.0])
    found = weighted_energy(logits, weights, temperature)
    for n, h, w in np.ndindex(2, 3, 5):
        values = logits[n, :, h, w].double() / temperature
        total = sum(max(a.item(), 0) * math.exp(b) for a, b in zip(weights, values, strict=True))
        assert found[n, h, w].item() == pytest.approx(-temperature * math.log(total), abs=1e-5)
    assert torch.allclose(weighted_energy(logits, torch.ones(4), 2.0), energy(logits, 2.0))
    of_images = weighted_energy(logits[..., 0, 0], weights, temperature)
    assert torch.allclose(of_images, found[..., 0, 0])


def test_large_logits_do_not_overflow():
    logits = torch.tensor([[1e4, 0.0]])
    assert weighted_energy(logits, torch.tensor([2.0, 1.0])).item() == pytest.approx(-1e4, rel=1e-4)


def two_groups(count=600):
    """Outliers have a large logit of class 2, which the plain energy takes for known."""
    generator = torch.Generator().manual_seed(0)
    known, outliers = torch.randn(2, count, 3, generator=generator)
    known[:, 0] += 4
    outliers[:, 2] += 4
    return known, outliers


def test_fit_equals_another_optimiser():
    known, outliers = (part.double().numpy() for part in two_groups())
    centre = np.log(np.exp(known).sum(axis=1)).mean()

    def loss(point):
        total = 0.5 * 1e-3 * (point[:3] ** 2).sum()
        for sign, logits in ((-1, known), (1, outliers)):
            energies = centre - np.log(np.exp(logits + point[:3]).sum(axis=1))
            odds = sign * (point[3] * energies + point[4])
            total += 0.5 * np.logaddexp(0, -odds).mean()
        return total

    expected = minimize(loss, [0, 0, 0, 1, 0], method="BFGS", options={"gtol": 1e-7})
    found = fit_class_weights(torch.from_numpy(known), torch.from_numpy(outliers))
    np.testing.assert_allclose(found.log().numpy(), expected.x[:3], atol=1e-3)


def test_weights_separate_what_the_energy_does_not():
    known, outliers = two_groups()
    weights = fit_class_weights(known, outliers).float()
    assert weights[2] < weights[0]

    def auroc(score):
        return (score(outliers)[:, None] > score(known)[None]).float().mean().item()

    assert auroc(energy) < 0.6
    assert auroc(lambda logits: weighted_energy(logits, weights)) > 0.95


def test_a_strong_penalty_gives_the_plain_energy():
    weights = fit_class_weights(*two_groups(), strength=1e6)
    assert torch.allclose(weights, torch.ones(3, dtype=torch.float64), atol=1e-4)


def test_fit_works_in_inference_mode():
    with torch.inference_mode():
        known, outliers = two_groups(50)
        assert fit_class_weights(known, outliers).isfinite().all()


@pytest.mark.parametrize("dense", [True, False])
def test_detector_uses_outlier_pixels(dense):
    known, outliers = two_groups(60)
    logits = torch.cat([known, outliers])
    labels = torch.cat([torch.zeros(60), torch.full((60,), 254)]).long()
    if dense:
        logits, labels = logits.T.reshape(1, 3, 10, 12), labels.reshape(1, 10, 12)
    fitter = WeightedEnergy.fitter()
    fitter.update(Outputs(logits, {}), labels, None)
    section = fitter.result()
    assert section.options["outlier_pixels"] == 60
    expected = fit_class_weights(known, outliers)
    assert torch.allclose(section.tensors["weights"].double(), expected, rtol=1e-4)
    score = WeightedEnergy(StatisticsFile({"weighted-energy": section}))
    assert torch.allclose(score(logits), weighted_energy(logits, score.weights))


def test_bad_input():
    logits = torch.zeros(1, 3, 2)
    for weights in (torch.ones(2), torch.zeros(3), torch.ones(1, 3), torch.tensor([-1.0, 0, 0])):
        with pytest.raises(ValueError, match=r"weights.*\(3,\).*positive"):
            weighted_energy(logits, weights)
    with pytest.raises(ValueError, match=r"temperature.*0"):
        weighted_energy(logits, torch.ones(3), 0)
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    with pytest.raises(ValueError, match=r"weighted energy.*outlier pixels.*254.*\b0\b"):
        toy_networks.fitted(
            WeightedEnergy.fitter(), network, images, labels.where(labels != 254, 255)
        )
