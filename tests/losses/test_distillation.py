"""Distillation: reference, invariance to a common shift, masks."""

import pytest
import torch

from ood_seg.losses import distillation_loss
from tests import references


@pytest.fixture
def teacher(scene):
    return scene[0] + torch.linspace(-1, 1, 5, dtype=torch.float64).view(1, 5, 1, 1)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_equals_reference(scene, teacher, temperature):
    logits, labels = scene
    value = distillation_loss(logits, teacher, labels, temperature=temperature)
    expected = references.distillation_loss(
        logits.numpy(), teacher.numpy(), labels.numpy(), temperature
    )
    assert value.item() == pytest.approx(expected, rel=1e-10)
    assert expected > 0.01


def test_equal_logits_and_a_common_shift_give_zero(scene):
    logits, labels = scene
    assert distillation_loss(logits, logits + 3, labels).item() == pytest.approx(0, abs=1e-12)


def test_gradient_reaches_only_known_pixels_of_the_student(scene, teacher):
    logits, labels = scene
    logits, teacher = logits.clone().requires_grad_(), teacher.clone().requires_grad_()
    distillation_loss(logits, teacher, labels).backward()
    assert teacher.grad is None
    by_pixel = logits.grad.abs().sum(dim=1)
    assert (by_pixel[labels < 254] > 0).all()
    assert by_pixel[labels >= 254].sum() == 0


def test_no_known_pixel_gives_zero(scene, teacher):
    labels = torch.full_like(scene[1], 254)
    assert distillation_loss(scene[0], teacher, labels).item() == 0


def test_bad_inputs_are_refused(scene, teacher):
    with pytest.raises(ValueError, match=r"teacher_logits.*\(2, 5, 4, 6\).*\(2, 4, 4, 6\)"):
        distillation_loss(scene[0], teacher[:, :4], scene[1])
    with pytest.raises(ValueError, match=r"temperature.*0$"):
        distillation_loss(scene[0], teacher, scene[1], temperature=0)
