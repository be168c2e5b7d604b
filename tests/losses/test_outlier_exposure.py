"""Outlier exposure, and the entropy maximisation of Meta-OoD."""

import math

import pytest
import torch

from ood_seg.losses import MetaOODLoss, OutlierExposureLoss, meta_ood_loss, outlier_exposure_loss
from tests import references


def uniform(logits, labels):
    return outlier_exposure_loss(logits, labels)


def meta(logits, labels):
    return meta_ood_loss(logits, labels, outlier_weight=0.9)


LOSSES = pytest.mark.parametrize("loss", [uniform, meta])


def test_equal_references(scene):
    arrays = [part.numpy() for part in scene]
    assert uniform(*scene).item() == pytest.approx(references.outlier_exposure_loss(*arrays))
    for weight in (0.0, 0.3, 0.9):
        value = meta_ood_loss(*scene, outlier_weight=weight)
        assert value.item() == pytest.approx(references.meta_ood_loss(*arrays, weight))


def test_two_pixels_worked_by_hand():
    # Known pixel with p = (3/4, 1/4) of class 0, outlier with p = (1/2, 1/2).
    logits = torch.tensor([[[[math.log(3), 2.0]], [[0.0, 2.0]]]])
    labels = torch.tensor([[[0, 254]]])
    assert uniform(logits, labels).item() == pytest.approx(math.log(2))
    expected = (0.1 * math.log(4 / 3) + 0.9 * math.log(2)) / 4
    assert meta(logits, labels).item() == pytest.approx(expected)


def test_the_uniform_prediction_is_the_minimum(scene):
    logits, labels = scene
    flat = logits.where((labels != 254).unsqueeze(1), 3.0)
    assert uniform(flat, labels).item() == pytest.approx(math.log(5))
    assert uniform(logits, labels) > math.log(5)


@LOSSES
def test_gradient_matches_finite_differences(scene, loss):
    logits = scene[0][:1, :, :3, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: loss(f, scene[1][:1, :3, :3]), (logits,))


@LOSSES
@pytest.mark.parametrize("kind", [0, 254, 255])
def test_one_kind_of_pixel_is_finite(scene, loss, kind):
    logits, labels = scene[0].clone().requires_grad_(), torch.full_like(scene[1], kind)
    value = loss(logits, labels)
    value.backward()
    reference = references.meta_ood_loss if loss is meta else references.outlier_exposure_loss
    options = (0.9,) if loss is meta else ()
    expected = reference(scene[0].numpy(), labels.numpy(), *options)
    assert value.item() == pytest.approx(expected)
    assert torch.isfinite(logits.grad).all()


@LOSSES
def test_ignored_pixels_change_neither_value_nor_gradient(scene, loss):
    logits, labels = scene
    changed = (logits + 50 * (labels == 255).unsqueeze(1)).requires_grad_()
    value = loss(changed, labels)
    value.backward()
    assert value.item() == pytest.approx(loss(logits, labels).item(), rel=1e-12)
    assert changed.grad.movedim(1, -1)[labels == 255].abs().sum() == 0


def test_modules_equal_functions(scene):
    module = OutlierExposureLoss(loss_weight=0.5)
    assert module(*scene).item() == pytest.approx(0.5 * uniform(*scene).item())
    module = MetaOODLoss(outlier_weight=0.9, loss_weight=2.0)
    assert module(*scene).item() == pytest.approx(2 * meta(*scene).item())


def test_bad_inputs_are_refused(scene):
    logits, labels = scene
    with pytest.raises(ValueError, match=r"labels.*0\.\.2.*0\.\.4"):
        meta(logits[:, :3], labels)
    with pytest.raises(ValueError, match=r"outlier_weight.*\b0\b.*\b1\b.*1\.5"):
        meta_ood_loss(logits, labels, outlier_weight=1.5)
    with pytest.raises(ValueError, match=r"labels.*\(2, 4, 6\).*\(1, 4, 6\)"):
        uniform(logits, labels[:1])
