"""ODIN and its input perturbation against the formula, also where gradients are disabled."""

import numpy as np
import pytest
import torch
from torch import nn
from toy_networks import images_and_labels

from ood_seg.detectors import ODIN, Network
from ood_seg.detectors.perturbation import perturb, perturbed_images
from ood_seg.scores import max_softmax

IMAGES, _ = images_and_labels(3, size=(8, 12))
STD = [63.0, 62.1, 66.7]
GENERATOR = torch.Generator().manual_seed(9)


def dense_with_norm(seed=0):
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.Tanh(), nn.Conv2d(6, 4, 1)
    )
    return Network(module.eval(), classifier="3", input_std=STD)


def linear(weight, input_std=STD):
    module = nn.Sequential(nn.Flatten(), nn.Linear(*weight.shape[::-1], bias=False))
    module[1].weight.data.copy_(weight)
    return Network(module, classifier="1", input_std=input_std)


def softmax(values):
    values = np.exp(values - values.max())
    return values / values.sum()


@pytest.mark.parametrize(("temperature", "epsilon"), [(1000.0, 0.0014), (1.0, 0.05), (10.0, 0.2)])
def test_equals_the_paper_on_a_linear_network(temperature, epsilon):
    weight = torch.randn(4, 3, generator=GENERATOR)
    images = torch.randn(20, 3, 1, 1, generator=GENERATOR)
    logits, scores = ODIN(temperature, epsilon)(linear(weight), images)
    torch.testing.assert_close(logits, images.flatten(1) @ weight.T)
    a = weight.double().numpy()
    for index, image in enumerate(images.flatten(1).double().numpy()):
        probabilities = softmax(a @ image / temperature)
        target = np.eye(4)[(a @ image).argmax()]
        gradient = a.T @ (probabilities - target) / temperature
        moved = image - epsilon * np.where(gradient >= 0, 1, -1) / (np.array(STD) / 255)
        expected = -softmax(a @ moved / temperature).max()
        assert scores[index].item() == pytest.approx(expected, rel=1e-6)


def test_sign_of_zero_is_plus_one():
    images = torch.zeros(1, 3, 1, 2)
    gradient = torch.tensor([[0.0, -0.0], [-2.0, 3.0], [1e-30, -1e-30]]).view(1, 3, 1, 2)
    moved = perturb(images, gradient, 0.1, torch.tensor([255.0, 51.0, 25.5]))
    np.testing.assert_allclose(moved.flatten(), [-0.1, -0.1, 0.5, -0.5, -1, 1], rtol=1e-6)
    np.testing.assert_allclose(perturb(images, gradient, 0.1).abs(), np.full((1, 3, 1, 2), 0.1))


def test_zero_gradients_move_the_input_by_plus_one():
    network = linear(torch.zeros(4, 3), input_std=None)
    moved, _ = perturbed_images(network, IMAGES[:, :, :1, :1], lambda o: o.logits, 0.5)
    torch.testing.assert_close(moved, IMAGES[:, :, :1, :1] - 0.5)
    _, scores = ODIN()(network, IMAGES[:, :, :1, :1])
    np.testing.assert_allclose(scores, np.full(3, -0.25))


@pytest.mark.parametrize("temperature", [1.0, 100.0])
def test_without_perturbation_it_is_the_softmax_at_a_temperature(temperature):
    network = dense_with_norm()
    logits, scores = ODIN(temperature, 0.0)(network, IMAGES)
    torch.testing.assert_close(logits, network(IMAGES).logits)
    torch.testing.assert_close(scores + 1, max_softmax(logits / temperature))


def test_dense_step_is_that_of_the_summed_cross_entropy():
    network = dense_with_norm()
    images = IMAGES.clone().requires_grad_()
    logits = network(images).logits
    loss = 0
    for index in np.ndindex(3, 4, 6):
        pixel = logits[index[0], :, index[1], index[2]] / 10
        loss = loss - torch.log_softmax(pixel, 0)[pixel.argmax()]
    loss.backward()
    std = torch.tensor(STD).view(3, 1, 1) / 255
    moved = IMAGES - 0.02 * images.grad.sign() / std
    expected = -(network(moved).logits / 10).softmax(1).amax(1)
    torch.testing.assert_close(ODIN(10.0, 0.02)(network, IMAGES)[1], expected.detach())


def test_perturbation_raises_the_confidence():
    network = dense_with_norm()
    _, plain = ODIN(1.0, 0.0)(network, IMAGES)
    _, after = ODIN(1.0, 0.001)(network, IMAGES)
    assert after.mean() < plain.mean()


@pytest.mark.parametrize("context", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_has_no_side_effects_in_any_gradient_mode(context):
    network = dense_with_norm()
    before = {name: value.clone() for name, value in network.module.state_dict().items()}
    images = IMAGES.clone()
    expected = ODIN()(network, IMAGES)
    with context():
        logits, scores = ODIN()(network, images)
        inside = ODIN()(network, images * 1)[1]  # a tensor created in this mode
    torch.testing.assert_close((logits, scores), expected)
    torch.testing.assert_close(inside, scores)
    assert torch.equal(images, IMAGES)
    assert not images.requires_grad
    assert not scores.requires_grad
    assert not logits.requires_grad
    assert all(parameter.grad is None for parameter in network.module.parameters())
    for name, value in network.module.state_dict().items():
        assert torch.equal(value, before[name])


def test_frozen_network_and_batch_split():
    network = dense_with_norm()
    network.module.requires_grad_(False)
    score = ODIN(100.0, 0.01)
    whole = score(network, IMAGES)
    parts = [
        torch.cat(pair) for pair in zip(*(score(network, one[None]) for one in IMAGES), strict=True)
    ]
    torch.testing.assert_close(list(whole), parts)


def test_single_class_is_constant():
    network = linear(torch.randn(1, 3, generator=GENERATOR))
    _, scores = ODIN()(network, IMAGES[:, :, :1, :1])
    assert torch.equal(scores, torch.full((3,), -1.0))


def test_half_precision_network_is_scored_in_float32():
    network = dense_with_norm()
    network.module.bfloat16()
    logits, scores = ODIN(1000.0, 0.001)(network, IMAGES.bfloat16())
    assert logits.dtype == torch.bfloat16
    assert scores.dtype == torch.float32
    assert len(scores.unique()) > 20  # in bfloat16 all would be 0.25


def test_half_precision_gradients_do_not_vanish_at_a_high_temperature():
    network = dense_with_norm()
    expected, _ = perturbed_images(network, IMAGES, ODIN(1e6)._objective, 0.5)
    network.module.half()
    moved, _ = perturbed_images(network, IMAGES.half(), ODIN(1e6)._objective, 0.5)
    same_way = (moved < IMAGES.half()) == (expected < IMAGES)
    assert same_way.float().mean() > 0.95


def test_bad_options():
    with pytest.raises(ValueError, match=r"temperature.*0$"):
        ODIN(0)
    with pytest.raises(ValueError, match=r"epsilon.*-0\.1"):
        ODIN(1.0, -0.1)
