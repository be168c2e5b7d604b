"""The plain energy loss: reference, published number, hand-worked and limiting cases."""

import pytest
import torch

from ood_seg.losses import EnergyLoss, energy_loss
from tests import references

MARGINS = {"margin_in": -4.0, "margin_out": -1.0}


def test_equals_reference(scene):
    logits, labels = scene
    for temperature in (1.0, 2.5):
        expected = references.energy_loss(logits.numpy(), labels.numpy(), -4.0, -1.0, temperature)
        value = energy_loss(logits, labels, temperature=temperature, **MARGINS)
        assert value.item() == pytest.approx(expected, rel=1e-10)


def test_equals_released_code(published_batch):
    logits, labels, _ = published_batch
    logits = logits.clone().requires_grad_()
    value = energy_loss(logits, labels, margin_in=-12.0, margin_out=-6.0)
    value.backward()
    assert value.item() == pytest.approx(12.7250271, rel=1e-6)
    assert logits.grad.norm().item() == pytest.approx(0.4762915, rel=1e-5)


def test_two_pixels_worked_by_hand():
    # One channel, so the energy is minus the logit: E = -2 (known) and E = -3 (outlier).
    logits = torch.tensor([[[[2.0, 3.0]]]])
    labels = torch.tensor([[[0, 254]]])
    # 0.5 * ((-2 + 4)^2 + (-1 + 3)^2) = 4
    assert energy_loss(logits, labels, **MARGINS).item() == pytest.approx(4.0)


def test_satisfied_margins_give_zero():
    logits = torch.tensor([[[[5.0, 0.5]]]])
    assert energy_loss(logits, torch.tensor([[[0, 254]]]), **MARGINS).item() == 0


def test_raising_an_outliers_logits_raises_the_loss(scene):
    logits, labels = scene
    raised = logits + 1.0 * (labels == 254).unsqueeze(1)
    assert energy_loss(raised, labels, **MARGINS) > energy_loss(logits, labels, **MARGINS)


def test_ignored_pixels_change_neither_value_nor_gradient(scene):
    logits, labels = scene
    changed = logits + 50 * (labels == 255).unsqueeze(1)
    gradients = []
    for batch in (logits.clone(), changed):
        batch.requires_grad_()
        value = energy_loss(batch, labels, **MARGINS)
        value.backward()
        gradients.append(batch.grad)
        assert value.item() == energy_loss(logits, labels, **MARGINS).item()
    assert torch.equal(*gradients)
    assert gradients[0].permute(0, 2, 3, 1)[labels == 255].abs().sum() == 0


@pytest.mark.parametrize("kinds", [(0,), (254,), (255,)])
def test_one_kind_of_pixel_is_finite(scene, kinds):
    logits = scene[0].clone().requires_grad_()
    labels = torch.full_like(scene[1], kinds[0])
    value = energy_loss(logits, labels, **MARGINS)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    expected = (
        0.0
        if kinds == (255,)
        else references.energy_loss(scene[0].numpy(), labels.numpy(), -4.0, -1.0)
    )
    assert value.item() == pytest.approx(expected)


def test_gradient_matches_finite_differences(scene):
    logits, labels = scene
    small = logits[:1, :, :3, :3].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda f: energy_loss(f, labels[:1, :3, :3], **MARGINS), (small,)
    )


def test_image_level_logits(scene):
    logits, labels = scene
    flat_logits, flat_labels = logits.movedim(1, -1).reshape(-1, 5), labels.reshape(-1)
    expected = energy_loss(logits, labels, **MARGINS)
    torch.testing.assert_close(energy_loss(flat_logits, flat_labels, **MARGINS), expected)


def test_half_precision_is_computed_in_float32(scene):
    half = scene[0].to(torch.bfloat16)
    value = energy_loss(half, scene[1], **MARGINS)
    assert value.dtype == torch.float32
    assert value.item() == energy_loss(half.float(), scene[1], **MARGINS).item()


def test_module_equals_function_and_weights_it(scene):
    module = EnergyLoss(**MARGINS, temperature=2.0, loss_weight=0.1)
    expected = 0.1 * energy_loss(*scene, temperature=2.0, **MARGINS)
    assert module(*scene).item() == pytest.approx(expected.item(), rel=1e-12)


def test_inputs_are_not_modified(scene):
    logits, labels = scene[0].clone(), scene[1].clone()
    energy_loss(logits, labels, **MARGINS)
    assert torch.equal(logits, scene[0])
    assert torch.equal(labels, scene[1])


def test_bad_inputs_are_refused(scene):
    logits, labels = scene
    with pytest.raises(ValueError, match=r"labels.*\(2, 4, 6\).*\(2, 2, 6\)"):
        energy_loss(logits, labels[:, :2], **MARGINS)
    with pytest.raises(TypeError, match=r"labels.*torch\.float32"):
        energy_loss(logits, labels.float(), **MARGINS)
    with pytest.raises(TypeError, match=r"logits.*torch\.int64"):
        energy_loss(logits.long(), labels, **MARGINS)
    with pytest.raises(ValueError, match=r"temperature.*0$"):
        energy_loss(logits, labels, temperature=0, **MARGINS)
