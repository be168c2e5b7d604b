"""DICE, SHE, fDBD and GradNorm against slow loops and autograd, by hand, and in limiting cases."""

import numpy as np
import pytest
import torch
import toy_networks
from torch import nn

from ood_seg.detectors import DICE, FDBD, SHE, GradNorm, Network, Outputs, StatisticsFile
from ood_seg.detectors.decision_boundary import inverse_class_distances
from ood_seg.detectors.linear_classifier import classifier_weights
from ood_seg.detectors.sparsified import sparsified_weight
from ood_seg.scores import energy

BUILDS = [toy_networks.dense, toy_networks.image_level]
IMAGE_LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 254, 255])


def known_data(build):
    images, labels = toy_networks.images_and_labels(8)
    return images, IMAGE_LABELS if build is toy_networks.image_level else labels


def case(kind, build, **options):
    """The score, its network, its outputs, activation rows, known rows and known labels."""
    network = build()
    images, labels = known_data(build)
    score = kind(toy_networks.fitted(kind.fitter(), network, images, labels, (3, 5)), **options)
    outputs = network(images, ("penultimate",))
    features = outputs.features["penultimate"].double()
    rows = features.movedim(1, -1).reshape(-1, features.shape[1]).numpy()
    labels = (labels[:, 1::2, 1::2] if labels.ndim == 3 else labels).flatten().numpy()
    weight, bias = (part.numpy() for part in classifier_weights(network))
    return score, network, outputs, rows, labels, weight, bias


def logsumexp(values):
    return np.log(np.exp(values).sum())


@pytest.mark.parametrize("build", BUILDS)
def test_dice_equals_slow_loop(build):
    score, network, outputs, rows, labels, weight, bias = case(DICE, build, percentile=60)
    mean = rows[labels < 254].mean(axis=0)
    contributions = weight * mean
    kept = np.where(contributions > np.percentile(contributions, 60), weight, 0)
    assert (kept != 0).sum() == 10  # of 24
    found = score(outputs, network)
    assert found.shape == (8, *outputs.features["penultimate"].shape[2:])
    expected = [-logsumexp(kept @ row + bias) for row in rows]
    np.testing.assert_allclose(found.flatten().numpy(), expected, atol=1e-5)


def test_dice_by_hand_and_its_limit():
    weight = torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    found = sparsified_weight(weight, torch.tensor([2.0, 1.0]), 50)  # 2, -2, 6, 4
    assert found.tolist() == [[0, 0], [3, 4]]
    score, network, outputs, *_ = case(DICE, toy_networks.dense, percentile=0)
    assert (score.sparse == 0).sum() == 1
    weight = score.weight.clone()
    weight[score.sparse == 0] = 0
    features = outputs.features["penultimate"]
    logits = nn.functional.conv2d(features, weight[:, :, None, None], score.bias)
    assert torch.allclose(score(outputs, network), energy(logits), atol=1e-5)


@pytest.mark.parametrize("build", BUILDS)
def test_she_equals_slow_loop(build):
    score, network, outputs, rows, labels, weight, bias = case(SHE, build)
    predicted = (rows @ weight.T + bias).argmax(axis=1)
    patterns = {}
    correct = [r for r, p, y in zip(rows, predicted, labels, strict=True) if p == y]
    for index in range(4):
        members = [
            row for row, p, y in zip(rows, predicted, labels, strict=True) if p == y and y == index
        ]
        patterns[index] = np.mean(members or correct, axis=0)
    found = score(outputs, network)
    expected = [-row @ patterns[p] for row, p in zip(rows, predicted, strict=True)]
    np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_she_of_a_class_that_is_never_right():
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    labels[labels == 2] = 255
    section = toy_networks.fitted(SHE.fitter(), network, images, labels).methods["she"]
    counts, patterns = section.tensors["counts"], section.tensors["patterns"]
    assert counts[2] == 0
    overall = (counts[:, None] * patterns).sum(dim=0) / counts.sum()
    assert torch.allclose(patterns[2], overall, atol=1e-5)


@pytest.mark.parametrize("build", BUILDS)
def test_fdbd_equals_slow_loop(build):
    score, network, outputs, rows, labels, weight, bias = case(FDBD, build)
    mean = rows[labels < 254].mean(axis=0)
    expected = []
    for row in rows:
        logits = weight @ row + bias
        best = logits.argmax()
        distances = [
            (logits[best] - logits[c]) / np.linalg.norm(weight[best] - weight[c])
            for c in range(4)
            if c != best
        ]
        expected.append(-np.mean(distances) / np.linalg.norm(row - mean))
    found = score(outputs, network).flatten().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert (found <= 0).all()


def test_fdbd_measures_the_distance_to_the_boundary():
    """With two classes, a step of the numerator's length against the gradient ends on it."""
    score, network, outputs, rows, _, weight, bias = case(
        FDBD, lambda: toy_networks.dense(classes=2)
    )
    distance = -score(outputs, network).flatten()[0].item() * np.linalg.norm(
        rows[0] - score.mean.double().numpy()
    )
    gap = weight[0] - weight[1]
    direction = gap / np.linalg.norm(gap) * np.sign(gap @ rows[0] + bias[0] - bias[1])
    moved = rows[0] - distance * direction
    assert gap @ moved + bias[0] - bias[1] == pytest.approx(0, abs=1e-5)


def test_fdbd_of_equal_classes_and_at_the_mean():
    inverse = inverse_class_distances(torch.tensor([[3.0, 4.0], [3.0, 4.0], [0.0, 0.0]]))
    assert torch.allclose(inverse, torch.tensor([[0, 0, 0.2], [0, 0, 0.2], [0.2, 0.2, 0]]))
    score, network, outputs, *_ = case(FDBD, toy_networks.dense)
    mean = score.mean.view(1, -1, 1, 1)
    found = score(outputs._replace(features={"penultimate": mean}), network)
    assert found.isfinite().all()
    assert found.item() < score(outputs, network).min()


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_gradnorm_equals_autograd(build, temperature):
    network = build()
    images, _ = known_data(build)
    outputs = network(images, ("penultimate",))
    found = GradNorm(temperature)(outputs, network)
    weight, bias = (part.clone().requires_grad_() for part in classifier_weights(network))
    features = outputs.features["penultimate"].double().movedim(1, -1)
    for index in list(np.ndindex(*found.shape))[::7]:
        logits = weight @ features[index] + bias
        uniform = torch.full_like(logits, 1 / len(logits))
        loss = nn.functional.kl_div((logits / temperature).log_softmax(0), uniform, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, weight)
        assert found[index].item() == pytest.approx(-gradient.abs().sum().item(), rel=1e-4)


def test_gradnorm_of_a_uniform_prediction_is_zero():
    module = nn.Sequential(nn.Linear(3, 4))
    nn.init.zeros_(module[0].weight)
    nn.init.ones_(module[0].bias)
    network = Network(module.requires_grad_(False), classifier="0")
    values = torch.randn(5, 3)
    found = GradNorm()(Outputs(module(values), {"penultimate": values}), network)
    assert found.abs().max() < 1e-6


def test_classes_alone_count_where_the_head_has_more_channels():
    for kind in (DICE, SHE, FDBD):
        network = toy_networks.dense(extra=2)
        images, labels = toy_networks.images_and_labels()
        score = kind(toy_networks.fitted(kind.fitter(), network, images, labels))
        outputs = network(images, score.layers)
        layer = network.layer("3")
        alone = nn.Conv2d(6, 4, 1)
        alone.load_state_dict({k: v[:4] for k, v in layer.state_dict().items()})
        plain = Network(nn.Sequential(alone).requires_grad_(False), classifier="0")
        assert torch.allclose(score(outputs, network), score(outputs, plain), atol=1e-6)
        assert torch.allclose(GradNorm()(outputs, network), GradNorm()(outputs, plain), atol=1e-6)


@pytest.mark.parametrize("kind", [DICE, FDBD, GradNorm])
def test_other_classifiers_are_refused(kind):
    torch.manual_seed(0)
    module = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 4, 3, padding=1))
    network = Network(module.requires_grad_(False), classifier="1")
    images, labels = toy_networks.images_and_labels()
    outputs = network(images, ("penultimate",))

    def use():
        if kind is GradNorm:
            GradNorm()(outputs, network)
        else:
            kind.fitter().update(outputs, labels, network)

    with pytest.raises(ValueError, match=r"linear layer.*1x1.*'1'.*Conv2d\(3, 4"):
        use()


def test_bad_input():
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    for kind, words in ((DICE, "dice.*one known pixel"), (FDBD, "fdbd.*one known pixel")):
        with pytest.raises(ValueError, match=words):
            toy_networks.fitted(kind.fitter(), network, images, labels * 0 + 255)
    with pytest.raises(ValueError, match=r"SHE.*classified correctly"):
        toy_networks.fitted(SHE.fitter(), network, images, labels * 0 + 254)
    statistics = toy_networks.fitted(DICE.fitter(), network, images, labels)
    for wrong in (-1, 100, float("nan")):
        with pytest.raises(ValueError, match=rf"percentile.*\[0, 100\).*{wrong}"):
            DICE(statistics, percentile=wrong)
    with pytest.raises(ValueError, match=r"temperature.*0"):
        GradNorm(0)
    one = toy_networks.dense(classes=1)
    statistics = toy_networks.fitted(FDBD.fitter(), one, images, labels.clamp(max=0))
    with pytest.raises(ValueError, match=r"fDBD.*\b2 classes.*\b1\b"):
        FDBD(statistics)
    with pytest.raises(ValueError, match=r"'dice'.*none"):
        DICE(StatisticsFile({}))
