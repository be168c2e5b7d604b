"""Scores and losses do not change under autocast."""

import pytest
import torch
from toy_networks import dense, fitted, images_and_labels, quick_fitter

from ood_seg.detectors import ASH, FITTED, SCALE
from ood_seg.detectors.standardized_max_logit import smooth_dilated
from ood_seg.losses import context_robust_contrastive_loss
from ood_seg.precision import full_precision, without_autocast
from ood_seg.smoothing import gaussian_smooth

NETWORK = dense(channels=16)
IMAGES, LABELS = images_and_labels(4, size=(32, 48))
LAYERS = ("0", "penultimate")
STATISTICS = {name: fitted(quick_fitter(name), NETWORK, IMAGES, LABELS) for name in FITTED}


def agrees(function):
    """Whether a function returns equal values of the same dtype under autocast."""
    expected = function()
    with torch.autocast("cpu", torch.bfloat16):
        found = function()
    return found.dtype == expected.dtype and torch.equal(found, expected)


def scored(score):
    outputs = NETWORK(IMAGES, LAYERS)
    if score.needs == "logits":
        return agrees(lambda: score(outputs.logits))
    return agrees(lambda: score(outputs, NETWORK))


@pytest.mark.parametrize("method", FITTED)
def test_fitted_scores(method):
    assert scored(FITTED[method](STATISTICS[method]))


@pytest.mark.parametrize("combine", ["minimum", "logistic"])
def test_densities_of_several_layers(combine):
    assert scored(FITTED["flow"](STATISTICS["flow"], combine))


@pytest.mark.parametrize("score", [ASH("S"), ASH("B"), ASH("P"), SCALE()])
def test_changed_activations(score):
    assert scored(score)


@pytest.mark.parametrize("smooth", [gaussian_smooth, smooth_dilated])
def test_smoothing(smooth):
    maps = 50 + torch.randn(2, 20, 30, generator=torch.Generator().manual_seed(0))
    assert agrees(lambda: smooth(maps))


def test_contrastive_loss():
    features = torch.randn(2, 5, 4, 6, generator=torch.Generator().manual_seed(0))
    labels, context_labels = torch.full((2, 2, 4, 6), 255)
    labels[0], labels[0, :2] = 1, 254
    context_labels[1], context_labels[1, 2:] = 0, 254
    assert agrees(
        lambda: context_robust_contrastive_loss(
            features, labels, context_labels, generator=torch.Generator().manual_seed(0)
        )
    )


def test_products_within_autocast():
    """Premise of the other tests: without the decorator, the product is in half precision."""
    values = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    assert not agrees(lambda: values @ values)
    assert agrees(lambda: without_autocast(torch.matmul)(values, values))


def test_full_precision():
    for dtype in (torch.float16, torch.bfloat16):
        assert full_precision(torch.ones(2, dtype=dtype)).dtype == torch.float32
    for dtype in (torch.float32, torch.float64):
        values = torch.ones(2, dtype=dtype)
        assert full_precision(values) is values
    with pytest.raises(TypeError, match=r"floating.point.*torch\.int64"):
        full_precision(torch.ones(2, dtype=torch.int64))
