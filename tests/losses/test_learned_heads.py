"""Losses of learned heads: reference, limiting cases, extreme logits, one kind of pixels."""

import math

import numpy as np
import pytest
import torch
from scipy.special import digamma, gammaln

from ood_seg import losses
from ood_seg.scores import energy
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


def outlier_odds(logits, labels):
    """Binary cross entropy of the head's two channels alone."""
    silent = np.array(logits)
    silent[:, :-2] = 0
    return likelihood_ratio(silent, labels)


def dirichlet_divergence(a, b):
    """`KL(Dir(a) || Dir(b))` by its textbook formula."""
    value = gammaln(sum(a)) - sum(map(gammaln, a)) - gammaln(sum(b)) + sum(map(gammaln, b))
    return value + sum((x - y) * (digamma(x) - digamma(sum(a))) for x, y in zip(a, b, strict=True))


def evidential(logits, labels, weight=0.7):
    terms = []
    for f, label in references.pixels(logits, labels):
        if label == references.IGNORE:
            continue
        t = int(label == references.OUTLIER)
        alpha = [math.exp(z) + 1 for z in f[-2:]]
        others = [1.0 if index == t else value for index, value in enumerate(alpha)]
        divergence = dirichlet_divergence(others, [1.0, 1.0])
        terms.append(math.log(sum(alpha)) - math.log(alpha[t]) + weight * divergence)
    return np.mean(terms) if terms else 0.0


def extra_class(logits, labels):
    terms = [
        -math.log(references.softmax(f)[-1 if label == references.OUTLIER else label])
        for f, label in references.pixels(logits, labels)
        if label != references.IGNORE
    ]
    return np.mean(terms) if terms else 0.0


def dense_hybrid(logits, labels, regulariser=0.5, head=0.3):
    known, outlier, pairs = [], [], []
    for f, label in references.pixels(logits, labels):
        if label == references.IGNORE:
            continue
        is_outlier = label == references.OUTLIER
        pairs.append(-math.log(references.softmax(f[-2:])[int(is_outlier)]))
        if is_outlier:
            outlier.append(-references.energy(f[:-2]))
        else:
            known.append(-math.log(references.softmax(f[:-2])[label]))
    means = [np.mean(part) if part else 0.0 for part in (known, outlier, pairs)]
    return means[0] + regulariser * means[1] + head * means[2]


def dirichlet(logits, labels, concentration=20.0, weight=0.5):
    known, outlier = [], []
    for f, label in references.pixels(logits, labels):
        classes = len(f) // 2
        alpha, target = np.exp(f[classes:]), np.ones(classes)
        if label == references.OUTLIER:
            outlier.append(dirichlet_divergence(alpha, target))
        elif label != references.IGNORE:
            target[label] += concentration
            known.append(dirichlet_divergence(alpha, target))
    means = [np.mean(part) if part else 0.0 for part in (known, outlier)]
    return means[0] + weight * means[1]


# Of each loss its module, the channels of its head for 5 classes, and the reference.
CASES = {
    "likelihood ratio": (losses.LikelihoodRatioLoss(), 2, likelihood_ratio),
    "outlier odds": (losses.OutlierOddsLoss(), 2, outlier_odds),
    "evidential": (losses.EvidentialLoss(kl_weight=0.7), 2, evidential),
    "extra class": (losses.ExtraClassLoss(), 1, extra_class),
    "dense hybrid": (
        losses.DenseHybridLoss(regulariser_weight=0.5, detach_regulariser=False),
        2,
        dense_hybrid,
    ),
    "dirichlet": (losses.DirichletLoss(concentration=20.0, outlier_weight=0.5), 5, dirichlet),
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
    with pytest.raises(ValueError, match=rf"out_channels=({extra}|K)"):
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


def test_evidence_for_the_right_side_alone_costs_nothing():
    logits = torch.tensor([[0.0, 50.0, -50.0], [0.0, -50.0, 50.0]])
    labels = torch.tensor([0, 254])
    assert losses.evidential_loss(logits, labels).item() == pytest.approx(0, abs=1e-6)
    none = torch.full((2, 3), -100.0)  # no evidence at all: two equal concentrations of 1
    assert losses.evidential_loss(none, labels).item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(("iteration", "share"), [(0, 0.0), (3, 0.3), (10, 1.0), (99, 1.0)])
def test_the_penalty_of_evidence_grows(scene, iteration, share):
    logits, labels = with_head(scene, 2)
    loss = losses.EvidentialLoss(annealing=10, kl_weight=2.0, loss_weight=0.5)
    loss.iteration = iteration
    expected = 0.5 * losses.evidential_loss(logits, labels, kl_weight=2.0 * share)
    assert loss(logits, labels).item() == pytest.approx(expected.item())


def test_extra_class_without_outliers_and_without_the_class_is_the_cross_entropy(scene):
    logits, _ = with_head(scene, 1)
    labels = scene[1].masked_fill(scene[1] > 100, 255)
    logits[:, 5] = -1e9
    expected = torch.nn.functional.cross_entropy(scene[0], labels, ignore_index=255)
    assert losses.extra_class_loss(logits, labels).item() == pytest.approx(expected.item())


def test_released_dense_hybrid_gives_outliers_no_gradient_in_the_classes(scene):
    logits, labels = with_head(scene, 2)
    gradients = {}
    for detach in (True, False):
        given = logits.clone().requires_grad_()
        value = losses.dense_hybrid_loss(given, labels, detach_regulariser=detach)
        value.backward()
        gradients[detach] = value.item(), given.grad[:, :5].movedim(1, -1)[labels == 254]
    assert gradients[True][0] == gradients[False][0]
    assert gradients[True][1].abs().sum() == 0
    assert (gradients[False][1] > 0).all()  # descent lowers all logits of outliers


def test_released_dense_hybrid_takes_ignored_pixels_for_known_ones_in_the_head(scene):
    logits, labels = with_head(scene, 2)
    options = {"regulariser_weight": 0.0, "head_weight": 1.0}
    value = losses.dense_hybrid_loss(logits, labels, ignored_as_known=True, **options)
    targets = (labels == 254).long()
    expected = torch.nn.functional.cross_entropy(logits[:, 5:], targets)
    expected += torch.nn.functional.cross_entropy(
        logits[:, :5], labels.masked_fill(labels == 254, 255), ignore_index=255
    )
    assert value.item() == pytest.approx(expected.item())


def test_dirichlet_targets_cost_nothing():
    classes = torch.zeros(2, 4, dtype=torch.float64)
    log_alpha = torch.zeros(2, 4, dtype=torch.float64)
    log_alpha[0, 2] = math.log(101)
    value = losses.dirichlet_loss(torch.cat([classes, log_alpha], 1), torch.tensor([2, 254]))
    assert value.item() == pytest.approx(0, abs=1e-10)


def test_relative_margin_of_one_pair_worked_by_hand():
    logits = torch.tensor([[3.0], [1.0]])  # energies -3 and -1
    labels = torch.tensor([0, 254])
    value = losses.relative_margin_loss(logits, labels, margin=10.0, pairs=7)
    assert value.item() == pytest.approx(8.0)
    assert losses.relative_margin_loss(logits, labels, margin=2.0).item() == 0


def test_relative_margin_is_the_mean_over_all_pairs(scene):
    energies = energy(scene[0])
    known, outlier = energies[scene[1] < 254], energies[scene[1] == 254]
    expected = (known[:, None] + 1.0 - outlier[None]).relu().mean()
    torch.manual_seed(0)
    value = losses.relative_margin_loss(*scene, margin=1.0, pairs=200000)
    assert value.item() == pytest.approx(expected.item(), rel=0.02)
    torch.manual_seed(0)
    assert losses.relative_margin_loss(*scene, margin=1.0, pairs=200000).item() == value.item()
    shifted = losses.relative_margin_loss(scene[0] + 7, scene[1], margin=1.0, pairs=200000)
    assert shifted.item() == pytest.approx(expected.item(), rel=0.02)  # no absolute margin


@pytest.mark.parametrize("kind", [0, 254, 255])
@pytest.mark.parametrize("scale", [1.0, 1e30])
def test_relative_margin_of_one_kind_is_zero(scene, kind, scale):
    logits = (scale * scene[0]).float().requires_grad_()
    value = losses.relative_margin_loss(logits, torch.full_like(scene[1], kind))
    value.backward()
    assert value.item() == 0
    assert logits.grad.abs().sum() == 0


def test_relative_margin_has_finite_gradients_at_extreme_logits(scene):
    logits = (1e30 * scene[0]).float().requires_grad_()
    value = losses.relative_margin_loss(logits, scene[1], pairs=50)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    with pytest.raises(ValueError, match=r"labels.*\(2, 4, 6\)"):
        losses.relative_margin_loss(scene[0], scene[1][:, 1:])
