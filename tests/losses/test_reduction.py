"""The reductions `none`, `mean` and `sum` of the losses that are sums over pixels."""

import math

import pytest
import torch

from ood_seg.losses import (
    EnergyLoss,
    MetaOODLoss,
    OutlierExposureLoss,
    energy_loss,
    meta_ood_loss,
    outlier_exposure_loss,
)

LOSSES = {
    "energy": (energy_loss, {"margin_in": -2.0, "margin_out": 1.0}),
    "outlier exposure": (outlier_exposure_loss, {}),
    "Meta-OoD": (meta_ood_loss, {"outlier_weight": 0.9}),
}
EACH = pytest.mark.parametrize("name", LOSSES)


def reduced(name, scene, reduction):
    function, options = LOSSES[name]
    return function(*scene, **options, reduction=reduction)


def slow(name, row, label):
    """Loss of one pixel with logits `row`."""
    total = math.log(sum(math.exp(value) for value in row))
    if label == 255 or (label != 254 and name == "outlier exposure"):
        return 0
    if name == "energy":
        hinge = -total + 2 if label != 254 else 1 + total
        return 0.5 * max(hinge, 0) ** 2
    uniform = total - sum(row) / len(row)
    if name == "outlier exposure":
        return uniform
    return 0.9 * uniform if label == 254 else 0.1 * (total - row[label])


@EACH
def test_none_is_the_loss_of_each_pixel(scene, name):
    logits, labels = scene
    found = reduced(name, scene, "none")
    assert found.shape == labels.shape
    for index in torch.cartesian_prod(*(torch.arange(size) for size in labels.shape)).tolist():
        n, *place = index
        row = logits[(n, slice(None), *place)].tolist()
        expected = slow(name, row, labels[tuple(index)].item())
        assert found[tuple(index)].item() == pytest.approx(expected, abs=1e-9)
    assert (found > 0).any()


@EACH
def test_sum_and_mean_follow_from_none(scene, name):
    logits, labels = scene
    each = reduced(name, scene, "none")
    assert reduced(name, scene, "sum").item() == pytest.approx(each.sum().item())
    outliers, known = labels == 254, labels < 254
    expected = {
        "energy": each[known].mean() + each[outliers].mean(),
        "outlier exposure": each[outliers].mean(),
        "Meta-OoD": each.sum() / logits.numel(),
    }[name]
    assert reduced(name, scene, "mean").item() == pytest.approx(expected.item())
    function, options = LOSSES[name]
    assert reduced(name, scene, "mean") == function(*scene, **options)


@EACH
@pytest.mark.parametrize("reduction", ["none", "sum"])
def test_gradient_matches_finite_differences(scene, name, reduction):
    logits, labels = scene[0][:1, :, :3, :3].clone().requires_grad_(), scene[1][:1, :3, :3]
    assert torch.autograd.gradcheck(lambda f: reduced(name, (f, labels), reduction), (logits,))


def test_modules_take_it(scene):
    for kind, options in (
        (EnergyLoss, LOSSES["energy"][1]),
        (OutlierExposureLoss, {}),
        (MetaOODLoss, LOSSES["Meta-OoD"][1]),
    ):
        each = kind(**options, loss_weight=2.0, reduction="none")(*scene)
        total = kind(**options, loss_weight=2.0, reduction="sum")(*scene)
        assert total.item() == pytest.approx(each.sum().item())


@EACH
def test_other_reductions_are_refused(scene, name):
    with pytest.raises(ValueError, match=r"reduction.*'none'.*'mean'.*'sum'.*'max'"):
        reduced(name, scene, "max")
