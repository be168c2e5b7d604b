"""ViM against a NumPy implementation of the paper, and its invariances."""

import numpy as np
import pytest
import torch
import toy_networks
from torch import nn

from ood_seg.detectors import Network
from ood_seg.detectors.virtual_logit import VirtualLogit, classifier_weights, origin_of

IMAGE_LABELS = torch.tensor([0, 1, 3, 2, 1, 0, 3, 255, 254])


def data(build):
    images, labels = toy_networks.images_and_labels(9)
    return images, labels if build is toy_networks.dense else IMAGE_LABELS


def activations(network, images):
    features = network(images, ("penultimate",)).features["penultimate"]
    return features.movedim(1, -1).flatten(0, -2).double().numpy()


def known_rows(network, images, labels):
    found = activations(network, images)
    labels = labels[:, 1::2, 1::2] if labels.ndim == 3 else labels
    return found[(labels.flatten() < 254).numpy()]


def paper(known, rows, weight, bias, dimensions):
    """Eqs. 4-7: scores of rows, as probability of the virtual class."""
    origin = -np.linalg.pinv(weight) @ bias
    centred = known - origin
    values, vectors = np.linalg.eig(centred.T @ centred)
    rest = vectors[:, np.argsort(-values)[dimensions:]].real
    largest = np.mean([(weight @ row + bias).max() for row in known])
    alpha = largest / np.mean([np.linalg.norm(rest.T @ row) for row in centred])
    found = []
    for row in rows:
        virtual = alpha * np.linalg.norm(rest.T @ (row - origin))
        logits = np.append(weight @ row + bias, virtual)
        found.append(np.exp(virtual) / np.exp(logits).sum())
    return np.array(found)


@pytest.mark.parametrize("dimensions", [1, None, 5])
@pytest.mark.parametrize("build", [toy_networks.dense, toy_networks.image_level])
def test_equals_the_paper(build, dimensions):
    network = build()
    network.module[-1].bias += 1  # largest logits above 0
    images, labels = data(build)
    fitter = VirtualLogit.fitter(dimensions=dimensions, sample_size=10**6)
    statistics = toy_networks.fitted(fitter, network, images, labels, (4,))
    score = VirtualLogit(statistics, form="probability")
    found = score(network(images, score.layers), network)
    weight, bias = (one.numpy() for one in classifier_weights(network))
    known = known_rows(network, images, labels)
    expected = paper(known, activations(network, images), weight, bias, dimensions or 3)
    np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=2e-4, atol=1e-5)
    assert found.shape == ((9, 4, 6) if build is toy_networks.dense else (9,))


def test_both_forms_have_the_same_ranking():
    network = toy_networks.dense()
    statistics = toy_networks.fitted(VirtualLogit.fitter(), network, *data(toy_networks.dense))
    outputs = network(toy_networks.images_and_labels(3, seed=8)[0], ("penultimate",))
    energy = VirtualLogit(statistics)(outputs, network).double()
    probability = VirtualLogit(statistics, form="probability")(outputs, network).double()
    assert torch.allclose(energy.sigmoid(), probability, atol=1e-6)
    assert torch.equal(energy.flatten().argsort(), (energy.sigmoid()).flatten().argsort())


def test_origin_by_hand():
    # Logits 2 x + 4 and y: both are 0 at x = -2, y = 0.
    origin = origin_of(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([4.0, 0.0]))
    assert origin.tolist() == pytest.approx([-2, 0], abs=1e-6)


def test_residual_by_hand():
    """The fit lies on the first axis: only the distance from it counts; alpha = 3 / 1."""
    network = Network(nn.Sequential(nn.Identity(), nn.Linear(2, 1)), classifier="1")
    with torch.no_grad():
        network.module[1].weight.copy_(torch.tensor([[1.0, 0.0]]))
        network.module[1].bias.zero_()
    known = torch.tensor([[2.0, 1.0], [4.0, -1.0], [2.0, -1.0], [4.0, 1.0]])
    statistics = toy_networks.fitted(
        VirtualLogit.fitter(dimensions=1), network, known, torch.zeros(4, dtype=torch.long)
    )
    assert statistics.methods["vim"].tensors["alpha"].item() == pytest.approx(3)
    score = VirtualLogit(statistics)
    probes = torch.tensor([[5.0, 0.0], [5.0, 2.0], [-3.0, -2.0]])
    found = score(network(probes, score.layers), network)
    assert found.tolist() == pytest.approx([-5, 6 - 5, 6 + 3], abs=1e-5)


def rotated(network, rotation):
    """The same network with a rotated penultimate activation."""
    first, relu, _, last = network.module
    turn = nn.Conv2d(6, 6, 1, bias=False)
    turn.weight.data = rotation.float()[:, :, None, None]
    other = nn.Conv2d(6, 4, 1)
    other.weight.data = (last.weight[:, :, 0, 0] @ rotation.T.float())[:, :, None, None]
    other.bias.data = last.bias
    module = nn.Sequential(first, relu, turn, other).requires_grad_(False)
    return Network(module, classifier="3")


def scores_of(network, images, labels):
    score = VirtualLogit(toy_networks.fitted(VirtualLogit.fitter(), network, images, labels))
    return score(network(images, score.layers), network)


def test_rotation_of_the_activation_changes_nothing():
    network = toy_networks.dense()
    images, labels = data(toy_networks.dense)
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=generator).double()).Q
    other = rotated(network, rotation)
    expected = scores_of(network, images, labels)
    assert torch.allclose(scores_of(other, images, labels), expected, atol=1e-4)


def test_permutation_of_the_classes_changes_nothing():
    network, other = toy_networks.dense(), toy_networks.dense()
    images, labels = data(toy_networks.dense)
    order = torch.tensor([2, 0, 3, 1])
    other.module[3].weight.data = network.module[3].weight[order]
    other.module[3].bias.data = network.module[3].bias[order]
    expected = scores_of(network, images, labels)
    assert torch.allclose(scores_of(other, images, labels), expected, atol=1e-5)


def test_extra_channels_and_no_bias():
    images, labels = data(toy_networks.dense)
    network = toy_networks.dense(extra=2)
    weight, bias = classifier_weights(network)
    assert (len(weight), len(bias)) == (4, 4)
    alone = toy_networks.dense()
    alone.module[0] = network.module[0]
    alone.module[3].weight.data = network.module[3].weight[:4]
    alone.module[3].bias.data = network.module[3].bias[:4]
    expected = scores_of(alone, images, labels)
    assert torch.allclose(scores_of(network, images, labels), expected, atol=1e-5)
    assert classifier_weights(toy_networks.dense(bias=False))[1].tolist() == [0] * 4


def test_one_class_and_half_precision():
    network = toy_networks.dense(classes=1)
    network.module[-1].bias += 1
    images, labels = data(toy_networks.dense)
    labels[labels < 254] = 0
    statistics = toy_networks.fitted(VirtualLogit.fitter(), network, images, labels)
    outputs = network(images, ("penultimate",))
    score = VirtualLogit(statistics)(outputs, network)
    assert score.isfinite().all()
    half = network.module.half()
    found = VirtualLogit(statistics)(network(images.half(), ("penultimate",)), network)
    assert half is network.module
    assert found.dtype == torch.float32
    assert torch.allclose(found, score, atol=0.05)
    # As under autocast: activations in half precision, the classifier's weights not.
    network.module.float()
    features = {"penultimate": outputs.features["penultimate"].half()}
    found = VirtualLogit(statistics)(outputs._replace(features=features), network)
    assert found.dtype == torch.float32
    assert torch.allclose(found, score, atol=0.05)


def test_default_dimensions():
    fitter = VirtualLogit.fitter()
    assert [fitter._dimensions_of(width) for width in (16, 512, 768, 2048)] == [8, 256, 512, 1000]


def test_bad_input():
    network = toy_networks.dense()
    images, labels = data(toy_networks.dense)
    with pytest.raises(ValueError, match=r"\b5 dimensions.*\b6\b.*\b6\b"):
        toy_networks.fitted(VirtualLogit.fitter(dimensions=6), network, images, labels)
    few = torch.full_like(labels, 255)
    few[0, 5, 5] = 0
    with pytest.raises(ValueError, match=r"\b6\b.*known pixels.*\b1\b"):
        toy_networks.fitted(VirtualLogit.fitter(), network, images, few)
    with pytest.raises(ValueError, match=r"form.*'energy'.*'probability'.*'odds'"):
        VirtualLogit(
            toy_networks.fitted(VirtualLogit.fitter(), network, images, labels), form="odds"
        )
    low = toy_networks.dense()
    low.module[-1].bias -= 100
    with pytest.raises(ValueError, match=r"largest logits.*-99\.9\b"):
        toy_networks.fitted(VirtualLogit.fitter(), low, images, labels)
    flat = toy_networks.dense()
    flat.module[0].weight.data[1:] = 0
    flat.module[0].bias.data[1:] = 0
    flat.module[3].bias.data[:] = 0
    with pytest.raises(ValueError, match=r"\b3\b dimensions.*residual"):
        toy_networks.fitted(VirtualLogit.fitter(dimensions=3), flat, images, labels)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(6, 4, 3), nn.ConvTranspose2d(6, 4, 2), nn.Conv2d(6, 4, 1, stride=2)]
)
def test_other_classifiers_are_refused(layer):
    network = Network(nn.Sequential(nn.Identity(), layer), classifier="1")
    with pytest.raises(ValueError, match=r"1x1 convolution.*'1'.*Conv"):
        classifier_weights(network)
