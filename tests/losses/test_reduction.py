"""The reductions `none`, `mean` and `sum` of the losses that are sums over pixels."""

import math

import pytest
import torch
import torch.nn.functional as F

from ood_seg.losses import (
    EnergyLoss,
    MetaOODLoss,
    OutlierExposureLoss,
    abstention_loss,
    balanced_energy_loss,
    cross_entropy_balanced_energy_loss,
    cross_entropy_energy_loss,
    energy_loss,
    meta_ood_loss,
    outlier_exposure_loss,
    residual_pattern_loss,
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


MARGINS = {"margin_in": -2.0, "margin_out": 1.0}
BALANCE = {"alpha": 2.0, "gamma": 1.0}
PRIOR = [0.5, 0.1, 0.2, 0.7, 0.3]


def balanced_each(logits, labels):
    """Balanced energy loss of each pixel, from the formula."""
    prior = torch.tensor(PRIOR[: logits.shape[1]], dtype=logits.dtype)
    z = (logits.softmax(1) * (prior / prior.sum())[:, None, None]).sum(1)
    energies = -logits.logsumexp(1)
    outliers = labels == 254
    weights = z / z[outliers].mean()
    hinge = weights * (1 + 2 * z - energies).relu().square()
    known = (energies + 2).relu().square()
    return 0.5 * torch.where(outliers, hinge, known.where(labels < 254, 0))


def test_balanced_energy(scene):
    logits, labels = scene
    prior = PRIOR[: logits.shape[1]]
    each = balanced_energy_loss(logits, labels, prior, **MARGINS, **BALANCE, reduction="none")
    expected = balanced_each(logits, labels)
    torch.testing.assert_close(each, expected)
    value = balanced_energy_loss(logits, labels, prior, **MARGINS, **BALANCE, reduction="sum")
    torch.testing.assert_close(value, expected.sum())
    mean = balanced_energy_loss(logits, labels, prior, **MARGINS, **BALANCE)
    torch.testing.assert_close(mean, each[labels < 254].mean() + each[labels == 254].mean())
    plain = energy_loss(logits, labels, **MARGINS, reduction="none")
    no_balance = {"alpha": 0.0, "gamma": 0.0}
    same = balanced_energy_loss(logits, labels, prior, **MARGINS, **no_balance, reduction="none")
    torch.testing.assert_close(same, plain)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_joint(scene, temperature):
    logits, labels = scene
    prior = PRIOR[: logits.shape[1]]
    hidden = labels.masked_fill(labels >= 254, 255).long()
    entropies = F.cross_entropy(logits, hidden, ignore_index=255, reduction="none")
    options = {**MARGINS, "temperature": temperature}
    for reduction in ("none", "sum"):
        expected = entropies if reduction == "none" else entropies.sum()
        plain = energy_loss(logits, labels, **options, reduction=reduction)
        found = cross_entropy_energy_loss(
            logits, labels, energy_weight=0.3, **options, reduction=reduction
        )
        torch.testing.assert_close(found, expected + 0.3 * plain)
        balanced = balanced_energy_loss(
            logits, labels, prior, **options, **BALANCE, reduction=reduction
        )
        found = cross_entropy_balanced_energy_loss(
            logits, labels, prior, energy_weight=0.3, **options, **BALANCE, reduction=reduction
        )
        torch.testing.assert_close(found, expected + 0.3 * balanced)


def test_abstention():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 9, 9, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 9, 9), generator=generator)
    labels[0, :3, :3], labels[:, 8] = 254, 255
    each = abstention_loss(logits, labels, outlier_weight=0.1, reduction="none")
    clean, known = labels[1] < 254, labels[0] < 254
    expected = each[1][clean].mean() + each[0][known].mean() + each[labels == 254].mean()
    mean = abstention_loss(logits, labels, outlier_weight=0.1)
    assert mean.item() == pytest.approx(expected.item())
    total = abstention_loss(logits, labels, outlier_weight=0.1, reduction="sum")
    assert total.item() == pytest.approx(each.sum().item())
    assert (each[labels == 255] == 0).all()


def test_residual_pattern(scene):
    logits, labels = torch.cat([scene[0], 1 - scene[0].flip(1)], dim=1), scene[1]
    each = residual_pattern_loss(logits, labels, reduction="none")
    expected = each[labels < 254].mean() + each[labels == 254].mean()
    assert residual_pattern_loss(logits, labels).item() == pytest.approx(expected.item())
    total = residual_pattern_loss(logits, labels, reduction="sum")
    assert total.item() == pytest.approx(each.sum().item())
    assert (each[labels == 255] == 0).all()


@pytest.mark.parametrize(
    "call",
    [
        lambda f, y: balanced_energy_loss(f, y, [1.0] * f.shape[1], **MARGINS, **BALANCE,
                                          reduction="max"),
        lambda f, y: cross_entropy_energy_loss(f, y, energy_weight=1, **MARGINS, reduction="max"),
        lambda f, y: abstention_loss(f, y, outlier_weight=1, reduction="max"),
        lambda f, y: residual_pattern_loss(f, y, reduction="max"),
    ],
)  # fmt: skip
def test_unknown_reductions_are_refused(scene, call):
    with pytest.raises(ValueError, match=r"'none', 'mean' or 'sum', got 'max'"):
        call(*scene)
