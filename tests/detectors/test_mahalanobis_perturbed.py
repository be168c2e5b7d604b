"""Mahalanobis scores with input perturbation; data and options that are refused."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gaussian_references import IMAGES, LABELS, gaussians, pyramid, slow_score
from torch import nn
from toy_networks import dense, fitted

from ood_seg.detectors import Mahalanobis, Network, Outputs
from ood_seg.labels import IGNORE, OUTLIER

GENERATOR = torch.Generator().manual_seed(8)


class TestPerturbation:
    def test_step_lowers_the_distance_as_in_the_paper(self):
        matrix = torch.randn(3, 3, generator=GENERATOR)
        module = nn.Sequential(nn.Flatten(), nn.Linear(3, 3, bias=False), nn.Linear(3, 2))
        module[1].weight.data.copy_(matrix)
        network = Network(module, classifier="2", input_std=[51.0, 255.0, 25.5])
        images = torch.randn(40, 3, 1, 1, generator=GENERATOR)
        labels = torch.arange(40) % 2
        score = Mahalanobis(fitted(Mahalanobis.fitter(), network, images, labels), epsilon=0.01)
        assert score.needs == "network"
        logits, scores = score(network, images)
        torch.testing.assert_close(logits, network(images).logits)
        a, inputs = matrix.double().numpy(), images.double().numpy().reshape(40, 3)
        values = inputs @ a.T
        means, precision = gaussians(values, labels.numpy(), 2)
        for index, vector in enumerate(values):
            nearest = min(means, key=lambda mean: (vector - mean) @ precision @ (vector - mean))
            gradient = a.T @ precision @ (vector - nearest)
            moved = inputs[index] - 0.01 * np.sign(gradient) / (np.array([51, 255, 25.5]) / 255)
            expected = slow_score(a @ moved, means, precision)
            assert scores[index].item() == pytest.approx(expected, rel=1e-3)

    def test_each_layer_has_its_own_step(self):
        network = pyramid()
        file = fitted(Mahalanobis.fitter(["2", "0"]), network, IMAGES, LABELS)
        score = Mahalanobis(file, epsilon=0.002)
        with torch.inference_mode():
            _, scores = score(network, IMAGES)
        plain = Mahalanobis(file)
        maps = []
        for index, layer in enumerate(("2", "0")):
            images = IMAGES.clone().requires_grad_()
            plain.layer_scores(network(images, [layer]), index).sum().backward()
            std = torch.tensor([1.0, 0.2, 0.1]).view(3, 1, 1)
            moved = IMAGES - 0.002 * images.grad.sign() / std
            one = plain.layer_scores(network(moved, [layer]), index)[:, None]
            maps.append(F.interpolate(one, (16, 24), mode="bilinear")[:, 0])
        expected = plain.weights[0] * maps[0] + plain.weights[1] * maps[1] + plain.bias
        torch.testing.assert_close(scores, expected.detach(), rtol=1e-4, atol=1e-4)

    def test_no_step_is_the_plain_score(self):
        network = dense(seed=3)
        file = fitted(Mahalanobis.fitter(["0"]), network, IMAGES, LABELS)
        assert Mahalanobis(file, epsilon=0.0).needs == "outputs"
        tiny = Mahalanobis(file, epsilon=1e-9)(network, IMAGES)[1]
        plain = Mahalanobis(file)(network(IMAGES, ["0"]), network)
        torch.testing.assert_close(tiny, plain, rtol=1e-4, atol=1e-5)


class TestFaults:
    def test_too_few_samples(self):
        network = dense(channels=30)
        labels = torch.full_like(LABELS, IGNORE)
        labels[0, 1, 1:20:2] = torch.arange(10) % 3
        fitter = Mahalanobis.fitter(["0"])
        fitter.update(network(IMAGES, ["0"]), labels, network)
        message = r"layer '0'.*\b33\b.*known pixels.*\b30 channels.*\b3\b.*\b10\b.*shrinkage"
        with pytest.raises(ValueError, match=message):
            fitter.result()
        fitter = Mahalanobis.fitter(["0"], shrinkage=0.1)
        fitter.update(network(IMAGES, ["0"]), labels, network)
        assert fitter.result().tensors["whitening_0"].isfinite().all()

    def test_no_known_pixel(self):
        network = dense()
        fitter = Mahalanobis.fitter()
        fitter.update(network(IMAGES, fitter.layers), torch.full_like(LABELS, OUTLIER), network)
        with pytest.raises(ValueError, match=r"'penultimate'.*known pixels"):
            fitter.result()

    def test_dead_channels(self):
        network = dense(seed=3)
        network.module[0].weight.data[[1, 4]] = 0
        with pytest.raises(
            ValueError, match=r"layer.*\b2\b.*\b6\b channels.*\(1, 4\).*shrinkage=0\.01"
        ):
            fitted(Mahalanobis.fitter(["0"]), network, IMAGES, LABELS)
        file = fitted(Mahalanobis.fitter(["0"], shrinkage=0.01), network, IMAGES, LABELS)
        assert Mahalanobis(file)(network(IMAGES, ["0"]), network).isfinite().all()

    def test_dependent_channels(self):
        network = dense(seed=3)
        weight = network.module[0].weight.data
        weight[5] = weight[0] - 2 * weight[1]
        with pytest.raises(ValueError, match=r"layer.*\b6 channels.*\b5\b.*directions"):
            fitted(Mahalanobis.fitter(["0"]), network, IMAGES, LABELS)

    def test_infinite_activations(self):
        network = dense(seed=3)
        images = IMAGES.clone()
        images[0, 0, 8, 8] = torch.inf
        with pytest.raises(ValueError, match="infinite or NaN"):
            fitted(Mahalanobis.fitter(["0"]), network, images, LABELS)

    def test_options_and_shapes(self):
        network = dense(seed=3)
        file = fitted(Mahalanobis.fitter(["0"]), network, IMAGES, LABELS)
        outputs = network(IMAGES, ["0", "penultimate"])
        with pytest.raises(ValueError, match=r"layer '0'.*penultimate"):
            Mahalanobis(file)(network(IMAGES, ["penultimate"]), network)
        other = Outputs(outputs.logits, {"0": outputs.features["0"][:, :3]})
        with pytest.raises(ValueError, match=r"\b6\b.*\b3\b"):
            Mahalanobis(file)(other, network)
        with pytest.raises(ValueError, match=r"epsilon.*-1"):
            Mahalanobis(file, epsilon=-1)
        for layers in ("0", [], ["0", "0"]):
            with pytest.raises(ValueError, match=rf"layers.*{re.escape(repr(layers))}"):
                Mahalanobis.fitter(layers)
        with pytest.raises(ValueError, match=r"shrinkage.*\b2\b"):
            Mahalanobis.fitter(shrinkage=2)
