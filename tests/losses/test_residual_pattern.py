"""The loss of residual pattern learning: reference, hand-worked and limiting cases."""

import math

import numpy as np
import pytest
import torch

from ood_seg.losses import ResidualPatternLoss, residual_pattern_loss
from tests import references

WEIGHTS = {"consistency_weight": 0.7, "entropy_weight": 1.3, "outlier_weight": 0.2}


@pytest.fixture
def pair(scene):
    """Frozen and corrected logits as one tensor `(2, 10, 4, 6)`, and labels."""
    frozen, labels = scene
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(frozen.shape, generator=generator, dtype=torch.float64)
    return torch.cat([frozen, 0.5 * frozen + noise], dim=1), labels


def reference_loss(logits, labels, consistency_weight, entropy_weight, outlier_weight):
    """Pixel by pixel, from the paper's eq. 3-5."""
    known, outlier = [], []
    for both, label in references.pixels(logits, labels):
        f, g = both[: len(both) // 2], both[len(both) // 2 :]
        if label == references.OUTLIER:
            outlier.append(max(0.0, math.log(sum(math.exp(value) for value in g))))
        elif label != references.IGNORE:
            cross_entropy = -math.log(references.softmax(g)[int(np.argmax(f))])
            change = (references.entropy(g) - references.entropy(f)) ** 2
            known.append(consistency_weight * cross_entropy + entropy_weight * change)
    total = np.mean(known) if known else 0.0
    return total + (outlier_weight * np.mean(outlier) if outlier else 0.0)


def test_equals_reference(pair):
    logits, labels = pair
    expected = reference_loss(logits.numpy(), labels.numpy(), **WEIGHTS)
    value = residual_pattern_loss(logits, labels, **WEIGHTS)
    assert value.item() == pytest.approx(expected, rel=1e-10)


def released_loss(logits, labels):
    """The released code's order of operations, with its clamped probabilities."""
    f, g = logits.chunk(2, dim=1)
    known = (labels != 254) & (labels != 255)
    p, q = (part.softmax(1).clamp(min=1e-7) for part in (f, g))
    change = ((q * q.log()).sum(1) - (p * p.log()).sum(1)) ** 2
    target = f.argmax(1)
    consistency = -g.log_softmax(1).gather(1, target[:, None])[:, 0]
    push = g.exp().sum(1).log().clamp(min=0)[labels == 254].mean()
    return consistency[known].mean() + change[known].mean() + 0.05 * push


def test_defaults_equal_the_released_formula(pair):
    logits, labels = pair
    value = residual_pattern_loss(4 * logits, labels)
    assert value.item() == pytest.approx(released_loss(4 * logits, labels).item(), abs=1e-4)


def test_two_pixels_worked_by_hand():
    # Known: frozen prefers class 0, corrected is uniform: CE = log 2, H = log 2; the frozen
    # softmax is (3/4, 1/4). Outlier: corrected (log 2, log 3), logsumexp = log 5.
    frozen = torch.tensor([[math.log(3), 0.0], [9.0, -9.0]], dtype=torch.float64)
    corrected = torch.tensor([[1.0, 1.0], [math.log(2), math.log(3)]], dtype=torch.float64)
    logits = torch.cat([frozen, corrected], dim=1)
    h = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    expected = math.log(2) + (math.log(2) - h) ** 2 + 0.05 * math.log(5)
    value = residual_pattern_loss(logits, torch.tensor([1, 254]))
    assert value.item() == pytest.approx(expected, rel=1e-12)


def test_only_the_frozen_prediction_matters_not_the_known_label(pair):
    logits, labels = pair
    other = torch.where(labels < 254, (labels + 1) % 5, labels)
    value = residual_pattern_loss(logits, labels)
    assert value.item() == residual_pattern_loss(logits, other).item()


def test_equal_logits_leave_only_the_cross_entropy(pair):
    frozen, labels = pair[0][:, :5], torch.zeros_like(pair[1])
    value = residual_pattern_loss(torch.cat([frozen, frozen], dim=1), labels)
    expected = -frozen.log_softmax(1).amax(1).mean()
    assert value.item() == pytest.approx(expected.item())


def test_outliers_of_positive_energy_give_zero():
    logits = torch.tensor([[5.0, 5.0, -3.0, -4.0]])
    assert residual_pattern_loss(logits, torch.tensor([254])).item() == 0


def test_raising_an_outliers_corrected_logits_raises_the_loss(pair):
    logits, labels = pair
    raised = logits.clone()
    raised[:, 5:] += 1.0 * (labels == 254).unsqueeze(1)
    assert residual_pattern_loss(raised, labels) > residual_pattern_loss(logits, labels)


def test_no_gradient_reaches_the_frozen_logits(pair):
    logits = pair[0].clone().requires_grad_()
    residual_pattern_loss(logits, pair[1]).backward()
    assert logits.grad[:, :5].abs().sum() == 0
    assert logits.grad[:, 5:].abs().sum() > 0


def test_ignored_pixels_change_neither_value_nor_gradient(pair):
    logits, labels = pair
    ignored = (labels == 255).unsqueeze(1)
    gradients = []
    for batch in (logits.clone(), logits + 50 * ignored):
        batch.requires_grad_()
        value = residual_pattern_loss(batch, labels)
        value.backward()
        gradients.append(batch.grad)
        assert value.item() == residual_pattern_loss(logits, labels).item()
    assert torch.equal(*gradients)
    assert gradients[0].movedim(1, -1)[labels == 255].abs().sum() == 0


@pytest.mark.parametrize("kind", [0, 254, 255])
def test_one_kind_of_pixel_is_finite(pair, kind):
    logits = pair[0].clone().requires_grad_()
    labels = torch.full_like(pair[1], kind)
    value = residual_pattern_loss(logits, labels, **WEIGHTS)
    value.backward()
    assert torch.isfinite(logits.grad).all()
    expected = reference_loss(pair[0].numpy(), labels.numpy(), **WEIGHTS)
    assert value.item() == pytest.approx(expected)


def test_logit_gaps_beyond_underflow_stay_finite():
    logits = torch.tensor([[300.0, 0.0, 0.0, 300.0], [0.0, 0.0, 500.0, 0.0]], requires_grad=True)
    value = residual_pattern_loss(logits, torch.tensor([0, 254]))
    value.backward()
    assert value.item() == pytest.approx(300 + 0.05 * 500)
    assert torch.isfinite(logits.grad).all()


def test_gradient_matches_finite_differences(pair):
    logits, labels = pair
    frozen = logits[:1, :5, :3, :3]
    corrected = logits[:1, 5:, :3, :3].clone().requires_grad_()

    def loss(g):
        return residual_pattern_loss(torch.cat([frozen, g], dim=1), labels[:1, :3, :3], **WEIGHTS)

    assert torch.autograd.gradcheck(loss, corrected)


def test_module_equals_function_and_takes_all_channels(pair):
    module = ResidualPatternLoss(**WEIGHTS, loss_weight=2.0)
    assert module.channels == "all"
    expected = 2 * residual_pattern_loss(*pair, **WEIGHTS)
    assert module(*pair).item() == expected.item()


def test_inputs_are_not_modified(pair):
    logits, labels = pair[0].clone(), pair[1].clone()
    residual_pattern_loss(logits, labels)
    assert torch.equal(logits, pair[0])
    assert torch.equal(labels, pair[1])


def test_half_precision_is_computed_in_float32(pair):
    logits, labels = pair
    value = residual_pattern_loss(logits.half(), labels)
    assert value.dtype == torch.float32
    assert value.item() == residual_pattern_loss(logits.half().float(), labels).item()


def test_mismatched_shapes_are_refused(pair):
    logits, labels = pair
    with pytest.raises(ValueError, match=r"labels.*\(2, 4, 6\).*\(2, 3, 6\)"):
        residual_pattern_loss(logits, labels[:, 1:])
    with pytest.raises(ValueError, match=r"logits.*\b9\b"):
        residual_pattern_loss(logits[:, :9], labels)
