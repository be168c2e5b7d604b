"""Losses of learned heads: reference, limiting cases, extreme logits, one kind of pixels."""

import math

import numpy as np
import pytest
import torch

from ood_seg import losses
from tests import references


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def likelihood_ratio(logits, labels):
    """Mean binary cross entropy of `u_1 - u_0 - max f`, pixel by pixel."""
    terms = []
    for f, label in references.pixels(logits, labels):
        p = sigmoid(f[-1] - f[-2] - max(f[:-2]))
        if label == references.OUTLIER:
            terms.append(-math.log(p))
        elif label != references.IGNORE:
            terms.append(-math.log(1 - p))
    return np.mean(terms) if terms else 0.0


# Of each loss its module, the channels of its head for 5 classes, and the reference.
CASES = {
    "likelihood ratio": (losses.LikelihoodRatioLoss(), 2, likelihood_ratio),
}
cases = pytest.mark.parametrize(("loss", "extra", "reference"), CASES.values(), ids=CASES)


def with_head(scene, extra):
    """The scene with the channels of a head behind the logits."""
    logits, labels = scene
    generator = torch.Generator().manual_seed(11)
    shape = (logits.shape[0], extra, *logits.shape[2:])
    return torch.cat([logits, torch.randn(shape, generator=generator).double()], dim=1), labels


@cases
@pytest.mark.parametrize("kind", [None, 0, 254, 255], ids=["mixed", "known", "outlier", "ignored"])
def test_equals_reference(scene, loss, extra, reference, kind):
    logits, labels = with_head(scene, extra)
    if kind is not None:
        labels = torch.full_like(labels, kind)
    logits.requires_grad_()
    value = loss(logits, labels)
    value.backward()
    assert value.item() == pytest.approx(reference(logits.detach().numpy(), labels.numpy()))
    assert torch.isfinite(logits.grad).all()
    assert kind == 255 or logits.grad.abs().sum() > 0


@cases
def test_gradient_matches_finite_differences(scene, loss, extra, reference):
    logits, labels = with_head(scene, extra)
    small = logits[:1, :, :3, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: loss(f, labels[:1, :3, :3]), small)


@cases
@pytest.mark.parametrize("scale", [1e2, 1e4, 1e30])
@pytest.mark.parametrize("kind", [None, 0, 254])
def test_extreme_logits_have_finite_values_and_gradients(
    scene, loss, extra, reference, scale, kind
):
    logits, labels = with_head(scene, extra)
    if kind is not None:
        labels = torch.full_like(labels, kind)
    logits = (scale * logits).float().requires_grad_()
    value = loss(logits, labels)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


@cases
def test_ignored_pixels_have_no_gradient(scene, loss, extra, reference):
    logits, labels = with_head(scene, extra)
    logits.requires_grad_()
    loss(logits, labels).backward()
    assert logits.grad.movedim(1, -1)[labels == 255].abs().sum() == 0


@cases
def test_half_precision_is_computed_in_float32(scene, loss, extra, reference):
    logits, labels = with_head(scene, extra)
    value = loss(logits.half(), labels)
    assert value.dtype == torch.float32
    assert value.item() == loss(logits.half().float(), labels).item()


@cases
def test_all_channels_are_asked_for_and_too_few_are_refused(scene, loss, extra, reference):
    assert loss.channels == "all"
    logits, labels = with_head(scene, extra)
    with pytest.raises(ValueError, match=rf"\b{extra}\b"):
        loss(logits[:, :extra], labels)
    with pytest.raises(ValueError, match=r"labels.*\(2, 4, 6\).*\(2, 3, 6\)"):
        loss(logits, labels[:, 1:])


def test_likelihood_ratio_of_a_perfect_head_is_zero_and_of_no_head_that_of_the_max_logit(scene):
    logits, labels = with_head(scene, 2)
    silent = torch.cat([logits[:, :5], torch.zeros_like(logits[:, 5:])], dim=1)
    odds = -logits[:, :5].amax(dim=1)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        odds[labels != 255], (labels[labels != 255] == 254).double()
    )
    assert losses.likelihood_ratio_loss(silent, labels).item() == pytest.approx(expected.item())
    perfect = logits.clone()
    perfect[:, 6] = torch.where(labels == 254, 1e3, -1e3)
    assert losses.likelihood_ratio_loss(perfect, labels).item() == 0
