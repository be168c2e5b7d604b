"""The context-robust contrastive loss: slow reference, hand-worked and limiting cases, draws."""

import math

import numpy as np
import pytest
import torch

from ood_seg.losses import ContextRobustContrastiveLoss, context_robust_contrastive_loss

# Driving scene, driving scene without an outlier, source image; three pixels of each kind.
LABELS = torch.tensor(
    [[0, 254, 254, 3, 255, 1, 254], [2, 2, 2, 0, 1, 255, 255], [255] * 7],
)
CONTEXT = torch.tensor([[255] * 7, [255] * 7, [254, 0, 254, 0, 255, 7, 254]])


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(2)
    return torch.randn(3, 4, 7, generator=generator, dtype=torch.float64)


def reference(features, labels, context, temperature):
    """Every pixel of the four kinds, pair by pair; driving scenes without an outlier left out."""
    drawn = []  # (vector, is outlier, is anchor)
    for n in range(len(labels)):
        for i in range(labels.shape[1]):
            v = features[n, :, i] / np.sqrt((features[n, :, i] ** 2).sum())
            if labels[n, i] == 254 or (labels[n, i] < 254 and 254 in labels[n]):
                drawn.append((v, labels[n, i] == 254, True))
            if context[n, i] != 255:
                drawn.append((v, context[n, i] == 254, False))
    total, anchors = 0.0, 0
    for i, (v, side, is_anchor) in enumerate(drawn):
        if not is_anchor:
            continue
        away = sum(math.exp(v @ w / temperature) for w, other, _ in drawn if other != side)
        terms = []
        for j, (w, other, _) in enumerate(drawn):
            if other == side and j != i:
                close = math.exp(v @ w / temperature)
                terms.append(-math.log(close / (close + away)))
        total += sum(terms) / len(terms)
        anchors += 1
    return total / anchors


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_equals_reference(features, temperature):
    expected = reference(features.numpy(), LABELS.numpy(), CONTEXT.numpy(), temperature)
    value = context_robust_contrastive_loss(features, LABELS, CONTEXT, temperature=temperature)
    assert value.item() == pytest.approx(expected, rel=1e-10)


def test_four_pixels_worked_by_hand():
    # Outliers along one axis, the others along the second: similarity 1 to the one positive, 0 to
    # both negatives, for both anchors: log((e + 1 + 1) / e).
    features = torch.tensor([[[2.0, 0.0], [0.0, 5.0]], [[3.0, 0.0], [0.0, 1.0]]])
    labels, context = torch.tensor([[254, 4], [255, 255]]), torch.tensor([[255, 255], [254, 0]])
    value = context_robust_contrastive_loss(features, labels, context, temperature=1.0)
    assert value.item() == pytest.approx(math.log(1 + 2 / math.e))


def test_known_pixels_of_scenes_without_outliers_are_not_drawn(features):
    changed = features.clone()
    changed[1] = -3 * changed[1] + 1
    values = [
        context_robust_contrastive_loss(f, LABELS, CONTEXT).item() for f in (features, changed)
    ]
    assert values[0] == pytest.approx(values[1])  # drawn in another order


def test_length_of_a_feature_does_not_matter(features):
    value = context_robust_contrastive_loss(features, LABELS, CONTEXT)
    scaled = context_robust_contrastive_loss(features * 7, LABELS, CONTEXT)
    assert scaled.item() == pytest.approx(value.item())


def test_pulling_both_outliers_together_lowers_the_loss(features):
    target = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    outlier = (LABELS == 254) | (CONTEXT == 254)
    together = torch.where(outlier.unsqueeze(1), target[None, :, None], features)
    assert context_robust_contrastive_loss(
        together, LABELS, CONTEXT
    ) < context_robust_contrastive_loss(features, LABELS, CONTEXT)


def test_the_smallest_kind_and_samples_bound_the_number_of_draws():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 3, 40, generator=generator, requires_grad=True)
    labels = torch.tensor([[254] * 10 + [0] * 30, [255] * 40])
    context = torch.tensor([[255] * 40, [254] * 15 + [0] * 25])
    for samples, expected in ((512, 10), (4, 4)):
        features.grad = None
        context_robust_contrastive_loss(features, labels, context, samples=samples).backward()
        touched = features.grad.abs().sum(dim=1) > 0
        counts = [touched[0, :10], touched[0, 10:], touched[1, :15], touched[1, 15:]]
        assert [int(kind.sum()) for kind in counts] == [expected] * 4


def test_draws_come_from_the_generator_given_or_the_global_one(features):
    def loss(generator=None):
        return context_robust_contrastive_loss(
            features, LABELS, CONTEXT, samples=1, generator=generator
        ).item()

    values = {loss(torch.Generator().manual_seed(seed)) for seed in range(8)}
    assert len(values) > 1
    assert loss(torch.Generator().manual_seed(3)) == loss(torch.Generator().manual_seed(3))
    torch.manual_seed(3)
    assert loss() == loss(torch.Generator().manual_seed(3))


@pytest.mark.parametrize("missing", ["outlier", "known", "object", "around", "all"])
def test_a_missing_kind_gives_zero_with_a_graph(features, missing):
    labels, context = LABELS.clone(), CONTEXT.clone()
    if missing in ("outlier", "all"):
        labels[labels == 254] = 255
    if missing in ("known", "all"):
        labels[labels < 254] = 255
    if missing in ("object", "all"):
        context[context == 254] = 255
    if missing in ("around", "all"):
        context[context < 254] = 255
    features.requires_grad_()
    value = context_robust_contrastive_loss(features, labels, context)
    value.backward()
    assert value.item() == 0
    assert features.grad.abs().sum() == 0


def test_close_features_at_low_temperature_stay_finite(features):
    features = features.float().requires_grad_()
    value = context_robust_contrastive_loss(features, LABELS, CONTEXT, temperature=1e-3)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(features.grad).all()


def test_gradient_matches_finite_differences(features):
    def loss(f):
        return context_robust_contrastive_loss(f, LABELS, CONTEXT, temperature=0.5)

    assert torch.autograd.gradcheck(loss, features.requires_grad_())


def test_module_equals_function_on_maps(features):
    maps = features.reshape(3, 4, 7, 1)
    module = ContextRobustContrastiveLoss(temperature=0.3, samples=100, loss_weight=0.5)
    value = module(maps, LABELS[:, :, None], CONTEXT[:, :, None])
    expected = context_robust_contrastive_loss(features, LABELS, CONTEXT, temperature=0.3)
    assert value.item() == pytest.approx(0.5 * expected.item())


def test_bad_inputs_are_refused(features):
    with pytest.raises(ValueError, match=r"temperature.*0\.0.*512"):
        context_robust_contrastive_loss(features, LABELS, CONTEXT, temperature=0.0)
    with pytest.raises(ValueError, match=r"labels.*\(3, 7\).*\(2, 7\)"):
        context_robust_contrastive_loss(features, LABELS, CONTEXT[:2])
    with pytest.raises(TypeError, match=r"labels.*torch\.float32"):
        context_robust_contrastive_loss(features, LABELS.float(), CONTEXT)
