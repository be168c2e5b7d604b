"""Temperature scaling against a numerical optimiser, and in limiting cases."""

import numpy as np
import pytest
import torch
import toy_networks
from scipy.optimize import minimize_scalar

from ood_seg.detectors import Outputs, StatisticsFile, TemperatureScaling
from ood_seg.detectors.temperature_scaling import calibrating_temperature
from ood_seg.scores import max_softmax


def drawn(temperature, count=4000, classes=5):
    """Logits whose softmax at that temperature gives the probabilities of their labels."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    probabilities = (logits / temperature).softmax(dim=1)
    return logits, torch.multinomial(probabilities, 1, generator=generator).squeeze(1)


def loss(temperature, logits, labels):
    return torch.nn.functional.cross_entropy(logits / temperature, labels).item()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_equals_a_numerical_optimiser(temperature):
    logits, labels = drawn(temperature)
    found = calibrating_temperature(logits, labels)
    best = minimize_scalar(loss, bounds=(0.05, 50), args=(logits, labels), method="bounded")
    assert found == pytest.approx(best.x, rel=1e-3)
    assert found == pytest.approx(temperature, rel=0.1)
    assert loss(found, logits, labels) <= loss(best.x, logits, labels) + 1e-12


def test_scaled_logits_scale_the_temperature():
    logits, labels = drawn(2.0)
    assert calibrating_temperature(4 * logits, labels) == pytest.approx(
        4 * calibrating_temperature(logits, labels), rel=1e-9
    )


def test_bounds_are_kept():
    logits, _ = drawn(1.0, count=50)
    assert calibrating_temperature(logits, logits.argmax(dim=1)) < 0.05  # separated
    assert calibrating_temperature(logits, logits.argmin(dim=1)) == pytest.approx(1000, rel=1e-6)


@pytest.mark.parametrize("dense", [True, False])
def test_score_is_the_softmax_at_the_fitted_temperature(dense):
    logits, labels = (part.float() if part.is_floating_point() else part for part in drawn(2.0))
    fitter = TemperatureScaling.fitter(sample_size=10**6)
    if dense:
        maps, label_maps = logits.T.reshape(1, 5, 40, 100), labels.reshape(1, 40, 100).clone()
        label_maps[:, :10] = 255
        fitter.update(Outputs(maps, {}), label_maps, None)
        expected = calibrating_temperature(logits[1000:], labels[1000:])
    else:
        fitter.update(Outputs(logits, {}), labels, None)
        maps, expected = logits, calibrating_temperature(logits, labels)
    section = fitter.result()
    score = TemperatureScaling(StatisticsFile({"temperature-scaling": section}))
    assert score.fitted_temperature == pytest.approx(expected, rel=1e-6)
    assert torch.equal(score(maps), max_softmax(maps, score.fitted_temperature))
    assert not np.allclose(score(maps), max_softmax(maps))


def test_bad_input():
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    with pytest.raises(ValueError, match=r"temperature scaling.*\b1\b.*known pixels.*\b0\b"):
        toy_networks.fitted(TemperatureScaling.fitter(), network, images, labels * 0 + 255)
