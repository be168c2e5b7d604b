"""The analytic gradients of the energy losses equal autograd's, whatever the layout."""

import pytest
import torch
import torch.nn.functional as F

from ood_seg.losses import (
    CrossEntropyBalancedEnergyLoss,
    CrossEntropyEnergyLoss,
    _logsumexp,
    balanced_energy_loss,
    cross_entropy_balanced_energy_loss,
    cross_entropy_energy_loss,
    energy_loss,
)
from ood_seg.losses._logsumexp import pixel_sums

MARGINS = {"margin_in": -4.0, "margin_out": -1.0}
PRIOR = [0.4, 0.1, 0.0, 0.2, 0.3]
BALANCES = [
    {"alpha": 0.0, "margin_gamma": 0.0, "weight_gamma": 0.0},
    {"alpha": 5.0, "margin_gamma": 3.0, "weight_gamma": 3.0},
    {"alpha": 2.0, "margin_gamma": 1.0, "weight_gamma": 0.5},
    {"alpha": 2.0, "margin_gamma": 1.0, "weight_gamma": 0.0},
    {"alpha": 0.0, "margin_gamma": 1.0, "weight_gamma": 2.0},
    {"alpha": 2.0, "margin_gamma": 0.0, "weight_gamma": 1.0},
    {"alpha": 3.0, "margin_gamma": 1.0, "weight_gamma": 1.0, "detach_balance": True},
]


def by_autograd(
    logits, labels, *, alpha, margin_gamma, weight_gamma, temperature, detach_balance=False
):
    """The balanced loss by its formula, with probabilities and full-size maps."""
    logits = logits.double()
    known, outlier = labels < 254, labels == 254
    energies = -temperature * torch.log(torch.exp(logits / temperature).sum(dim=1))
    prior = torch.tensor(PRIOR, dtype=torch.float64)
    powers = [(prior**gamma) / (prior**gamma).sum() for gamma in (margin_gamma, weight_gamma)]
    source = logits.detach() if detach_balance else logits
    z, weight = (torch.einsum("nc...,c->n...", source.softmax(dim=1), power) for power in powers)
    inside = torch.relu(energies - MARGINS["margin_in"])[known].pow(2)
    outside = torch.relu(MARGINS["margin_out"] + alpha * z - energies)[outlier].pow(2)
    terms = [inside.mean()] if known.any() else []
    terms += [(outside * weight[outlier]).sum() / weight[outlier].sum()] if outlier.any() else []
    return sum(terms) / len(terms)


def value_and_gradient(loss, logits):
    logits = logits.clone().requires_grad_()
    value = loss(logits)
    (gradient,) = torch.autograd.grad(3.0 * value, logits)
    return value.detach(), gradient


@pytest.fixture(params=[7, 2**15], ids=["small blocks", "one block"])
def _block(request, monkeypatch):
    monkeypatch.setattr(_logsumexp, "_CPU_BLOCK", request.param)


@pytest.mark.usefixtures("_block")
@pytest.mark.parametrize("temperature", [1.0, 2.5])
@pytest.mark.parametrize("balance", BALANCES)
def test_value_and_gradient_equal_autograds(scene, balance, temperature):
    logits, labels = scene
    options = balance | {"temperature": temperature}
    expected = value_and_gradient(lambda f: by_autograd(f, labels, **options), logits)
    result = value_and_gradient(
        lambda f: balanced_energy_loss(f, labels, PRIOR, gamma=9.0, **MARGINS, **options), logits
    )
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=1e-13)

    ce = value_and_gradient(lambda f: F.cross_entropy(f, hidden(labels)), logits)
    joint = value_and_gradient(
        lambda f: cross_entropy_balanced_energy_loss(
            f, labels, PRIOR, energy_weight=0.3, gamma=9.0, **MARGINS, **options
        ),
        logits,
    )
    for both, one, other in zip(joint, ce, expected, strict=True):
        torch.testing.assert_close(both, one + 0.3 * other, rtol=1e-10, atol=1e-13)


def hidden(labels):
    """Labels for torch's cross entropy."""
    return labels.masked_fill(labels >= 254, -100)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_plain_energy_with_and_without_cross_entropy(scene, temperature):
    logits, labels = scene
    options = MARGINS | {"temperature": temperature}
    expected = value_and_gradient(
        lambda f: by_autograd(f, labels, temperature=temperature, **BALANCES[0]), logits
    )
    result = value_and_gradient(lambda f: energy_loss(f, labels, **options), logits)
    torch.testing.assert_close(result, expected)
    ce = value_and_gradient(lambda f: F.cross_entropy(f, hidden(labels)), logits)
    joint = value_and_gradient(
        lambda f: cross_entropy_energy_loss(f, labels, energy_weight=0.3, **options), logits
    )
    for both, one, other in zip(joint, ce, expected, strict=True):
        torch.testing.assert_close(both, one + 0.3 * other)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("balance", BALANCES[:-1])  # detached, it is not the derivative
def test_gradient_matches_finite_differences(scene, balance, temperature):
    logits = scene[0][:1, :, 1:4, 2:5].clone().requires_grad_()
    labels = scene[1][:1, 1:4, 2:5].clone()
    labels[0, 0, 0] = 255
    options = MARGINS | balance | {"gamma": 9.0, "temperature": temperature}
    assert torch.autograd.gradcheck(
        lambda f: cross_entropy_balanced_energy_loss(
            f, labels, PRIOR, energy_weight=0.5, **options
        ),
        (logits,),
    )


def test_backward_can_be_repeated_but_second_derivatives_are_refused(scene):
    logits = scene[0].clone().requires_grad_()
    value = energy_loss(logits, scene[1], **MARGINS)
    (first,) = torch.autograd.grad(value, logits, create_graph=True)
    (second,) = torch.autograd.grad(value, logits, retain_graph=True)
    assert torch.equal(first, second)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_layout_of_the_logits_does_not_matter(scene):
    logits, labels = scene
    options = {"alpha": 2.0, "gamma": 1.0, "energy_weight": 0.3} | MARGINS
    wide, last = torch.cat([logits, logits[:, :1]], dim=1), torch.channels_last
    # fmt: off
    layouts = {
        "plain": (logits, lambda f: f, labels),
        "class channels of more": (wide, lambda f: f[:, :5], labels),
        "channels last": (logits, lambda f: f.contiguous(memory_format=last), labels),
        "transposed": (logits.mT, lambda f: f.mT, labels),
        "every other row": (logits.repeat_interleave(2, 2), lambda f: f[:, :, ::2], labels),
        "images": (logits, lambda f: f.movedim(1, -1).reshape(-1, 5), labels.flatten()),
        "volumes": (logits, lambda f: f.unsqueeze(-1), labels.unsqueeze(-1)),
    }
    # fmt: on
    values = {}
    for name, (source, view, own_labels) in layouts.items():
        source = source.clone().requires_grad_()
        seen = view(source)
        seen.retain_grad()
        cross_entropy_balanced_energy_loss(seen, own_labels, PRIOR, **options).backward()
        values[name] = seen.grad
    expected = values["plain"]
    for name, gradient in values.items():
        if name == "images":
            gradient = gradient.view(2, 4, 6, 5).movedim(-1, 1)
        torch.testing.assert_close(gradient.reshape(expected.shape), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_scaled_before_rounding(scene, dtype):
    half, labels = scene[0].to(dtype), scene[1]
    options = {"alpha": 2.0, "gamma": 1.0, "energy_weight": 0.3} | MARGINS

    def loss(logits):
        return cross_entropy_balanced_energy_loss(logits, labels, PRIOR, **options)

    value, gradient = value_and_gradient(loss, half)
    expected = value_and_gradient(loss, half.float())
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(value, expected[0])
    rounding = torch.finfo(dtype).eps * expected[1].abs().max().item()
    torch.testing.assert_close(gradient.float(), expected[1], rtol=0.01, atol=rounding)
    # A gradient below float16's smallest number survives with the scale of mixed precision.
    half.requires_grad_()
    (tiny,) = torch.autograd.grad(2.0**16 * (1e-9 * loss(half)), half)
    torch.testing.assert_close(tiny.float(), expected[1] / 3 * 2**16 * 1e-9, rtol=0.02, atol=1e-7)


def test_mixed_precision_computes_in_float32(scene):
    logits, labels = scene[0].bfloat16(), scene[1]

    def loss(f):
        options = {"alpha": 2.0, "gamma": 1.0, "energy_weight": 0.3} | MARGINS
        return cross_entropy_balanced_energy_loss(f, labels, PRIOR, **options)

    expected = value_and_gradient(loss, logits)
    with torch.autocast("cpu", torch.bfloat16):
        result = value_and_gradient(loss, logits)
    assert all(torch.equal(*pair) for pair in zip(result, expected, strict=True))


def test_sums_equal_torchs(scene):
    logits, labels = scene
    mask, shifts = labels == 254, torch.randn(2, 5, dtype=torch.float64)
    classes = labels.clamp(max=4)
    sums = pixel_sums(logits, 2.0, classes=classes, mask=mask, shifts=shifts)
    torch.testing.assert_close(sums.logsumexps, (logits / 2).logsumexp(dim=1))
    assert torch.equal(sums.picked, logits.gather(1, classes[:, None])[:, 0])
    chosen = logits.movedim(1, -1)[mask]
    torch.testing.assert_close(sums.shifted, (chosen + shifts[:, None]).logsumexp(dim=2))


def test_each_output_has_its_own_gradient(scene):
    logits = scene[0][:1, :, :2, :3].clone().requires_grad_()
    classes = torch.tensor([[[0, 1, 2], [3, 4, 0]]])
    mask = torch.tensor([[[True, False, True], [False, True, False]]])
    shifts = torch.randn(2, 5, dtype=torch.float64)
    for index in range(3):
        assert torch.autograd.gradcheck(
            lambda f, index=index: pixel_sums(f, 1.5, classes=classes, mask=mask, shifts=shifts)[
                index
            ],
            (logits,),
        )


def test_modules_equal_functions(scene):
    options = MARGINS | {"energy_weight": 0.3, "temperature": 2.0}
    module = CrossEntropyEnergyLoss(loss_weight=0.5, **options)
    expected = 0.5 * cross_entropy_energy_loss(*scene, **options)
    assert module(*scene).item() == pytest.approx(expected.item())
    options |= {"alpha": 5.0, "gamma": 3.0}
    module = CrossEntropyBalancedEnergyLoss(loss_weight=0.5, **options)
    with pytest.raises(ValueError, match="OutlierPriorHook"):
        module(*scene)
    module.set_prior(PRIOR)
    expected = 0.5 * cross_entropy_balanced_energy_loss(*scene, PRIOR, **options)
    assert module(*scene).item() == pytest.approx(expected.item(), rel=1e-6)


def test_labels_outside_the_classes_are_refused(scene):
    logits, labels = scene
    with pytest.raises(ValueError, match=r"labels.*0\.\.2.*0\.\.4"):
        cross_entropy_energy_loss(logits[:, :3], labels, energy_weight=0.1, **MARGINS)
    labels = labels.clone()
    labels[0, 0, 0] = -1
    with pytest.raises(ValueError, match=r"labels.*0\.\.4.*-1\.\.4"):
        cross_entropy_energy_loss(logits, labels, energy_weight=0.1, **MARGINS)


@pytest.mark.parametrize("kind", [0, 254, 255])
def test_one_kind_of_pixel_is_finite(scene, kind):
    labels = torch.full_like(scene[1], kind)
    options = {"alpha": 2.0, "gamma": 1.0, "energy_weight": 0.3} | MARGINS
    value, gradient = value_and_gradient(
        lambda f: cross_entropy_balanced_energy_loss(f, labels, PRIOR, **options), scene[0]
    )
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
    assert (gradient.abs().sum() == 0) == (kind == 255)
