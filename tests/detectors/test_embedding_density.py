"""Density of activations: components, combinations, and detection of unlikely activations."""

import math

import numpy as np
import pytest
import torch
import toy_networks
from torch.nn import functional

from ood_seg.detectors import StatisticsFile
from ood_seg.detectors.embedding_density import EmbeddingDensity, principal_components
from ood_seg.labels import OUTLIER
from ood_seg.metrics import pixel_metrics

LAYERS = ("0", "1")


@pytest.fixture(scope="module")
def dense():
    """A dense network and statistics of two layers, with layer weights."""
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels(6, size=(32, 48))
    fitter = EmbeddingDensity.fitter(layers=LAYERS, steps=30, hidden=16)
    return network, toy_networks.fitted(fitter, network, images, labels, (2,))


def test_principal_components_against_numpy():
    generator = np.random.default_rng(0)
    values = generator.normal(size=(200, 5)) @ generator.normal(size=(5, 5)) + 3
    mean, matrix = principal_components(torch.from_numpy(values), 3)
    found = (torch.from_numpy(values).float() - mean) @ matrix
    np.testing.assert_allclose(np.cov(found.numpy().T, bias=True), np.eye(3), atol=1e-4)
    _, sizes, directions = np.linalg.svd(values - values.mean(0), full_matrices=False)
    expected = (values - values.mean(0)) @ directions[:3].T / sizes[:3] * math.sqrt(200)
    np.testing.assert_allclose(np.abs(found.numpy()), np.abs(expected), atol=1e-3)


def test_dead_and_copied_channels_are_left_out():
    values = torch.randn(100, 3)
    wide = torch.cat([values, values[:, :1], torch.full((100, 1), 7.0)], dim=1)
    assert principal_components(wide, 5)[1].shape == (5, 3)
    with pytest.raises(ValueError, match=r"two directions.*\b1\b"):
        principal_components(values[:, :1].repeat(1, 3), 3)
    with pytest.raises(ValueError, match=r"two directions.*\b0\b"):
        principal_components(torch.ones(10, 3), 3)


def test_untrained_density_is_the_gaussian_of_the_fit():
    network = toy_networks.image_level()
    images = toy_networks.images_and_labels(1200, size=(4, 4))[0]
    labels = torch.arange(1200) % 4
    labels[:50] = 255
    statistics = toy_networks.fitted(
        EmbeddingDensity.fitter(steps=0), network, images, labels, (500,)
    )
    score = EmbeddingDensity(statistics)
    outputs = network(images, score.layers)
    features = outputs.features["penultimate"].double().numpy()
    known = features[50:]
    apart = features - known.mean(0)
    distances = np.einsum("pi,ij,pj->p", apart, np.linalg.inv(np.cov(known.T, bias=True)), apart)
    expected = 0.5 * distances + 3 * math.log(2 * math.pi)
    np.testing.assert_allclose(score(outputs, network).numpy(), expected, rtol=2e-3)


def test_combinations_equal_their_formulas(dense):
    network, statistics = dense
    images = toy_networks.images_and_labels(2, seed=7, size=(16, 16))[0]
    outputs = network(images, LAYERS)
    single = [EmbeddingDensity(statistics, layer=name)(outputs, network) for name in LAYERS]
    tensors = statistics.methods["flow"].tensors
    lowest = torch.minimum(
        *(one - mean for one, mean in zip(single, tensors["mean_nll"], strict=True))
    )
    weighed = (
        single[0] * tensors["weights"][0] + single[1] * tensors["weights"][1] + tensors["bias"]
    )
    minimum = EmbeddingDensity(statistics, "minimum")
    logistic = EmbeddingDensity(statistics, "logistic")
    assert torch.allclose(minimum(outputs, network), lowest, atol=1e-4)
    assert torch.allclose(logistic(outputs, network), weighed, atol=1e-4)
    assert EmbeddingDensity(statistics).layers == ("0",)
    assert minimum.layers == logistic.layers == LAYERS


def test_mean_density_equals_that_of_the_fit(dense):
    network, statistics = dense
    images, labels = toy_networks.images_and_labels(6, size=(32, 48))
    outputs = network(images, LAYERS)
    known = labels[:, 1::2, 1::2] < OUTLIER
    for number, name in enumerate(LAYERS):
        found = EmbeddingDensity(statistics, layer=name)(outputs, network)[known].mean()
        expected = statistics.methods["flow"].tensors["mean_nll"][number]
        assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_layers_of_two_sizes():
    """The map of a coarse layer is interpolated to the larger one, in any order of layers."""
    network = toy_networks.two_sizes()
    images, labels = toy_networks.images_and_labels(4, size=(32, 48))
    found = []
    for layers in (("0", "2"), ("2", "0")):
        fitter = EmbeddingDensity.fitter(layers=layers, steps=5)
        statistics = toy_networks.fitted(fitter, network, images, labels)
        score = EmbeddingDensity(statistics, "minimum")
        outputs = network(images, layers)
        found.append(score(outputs, network))
        assert found[-1].shape == (4, 16, 24)
        coarse = EmbeddingDensity(statistics, layer="2")(outputs, network)
        fine = EmbeddingDensity(statistics, layer="0")(outputs, network)
        mean = dict(zip(layers, statistics.methods["flow"].tensors["mean_nll"], strict=True))
        assert coarse.shape == (4, 8, 12)
        coarse = functional.interpolate(coarse[:, None], (16, 24), mode="bilinear")[:, 0]
        expected = torch.minimum(fine - mean["0"], coarse - mean["2"])
        assert torch.allclose(found[-1], expected, atol=1e-4)
    assert torch.allclose(*found, atol=1e-3)


def test_unlikely_activations_have_high_scores(dense):
    network, statistics = dense
    images = toy_networks.images_and_labels(4, seed=9, size=(32, 48))[0]
    images[:, :, 8:20, 10:30] *= 4
    truth = torch.zeros(4, 16, 24, dtype=torch.long)
    truth[:, 4:10, 5:15] = 1
    outputs = network(images, LAYERS)
    for combine in ("single", "minimum"):
        found = EmbeddingDensity(statistics, combine)(outputs, network)
        assert pixel_metrics(found.numpy(), truth.numpy())["auroc"] > 0.8


def test_saved_and_loaded_and_absent_from_checkpoints(dense, tmp_path):
    network, statistics = dense
    statistics.save(tmp_path / "flow.pth")
    outputs = network(toy_networks.images_and_labels(2, size=(16, 16))[0], LAYERS)
    loaded = EmbeddingDensity(StatisticsFile.load(tmp_path / "flow.pth"), "logistic")
    expected = EmbeddingDensity(statistics, "logistic")(outputs, network)
    assert torch.equal(loaded(outputs, network), expected)
    assert not loaded.state_dict()
    assert not list(loaded.parameters())
    loaded.check_model(network)


def test_same_seed_gives_the_same_statistics_and_progress():
    network = toy_networks.dense()
    data = toy_networks.images_and_labels(6, size=(32, 48))
    calls = []
    one, same = (
        toy_networks.fitted(
            EmbeddingDensity.fitter(steps=3, on_step=lambda *step: calls.append(step)),
            network,
            *data,
        )
        for _ in range(2)
    )
    assert calls == [("penultimate", step, 3) for step in (1, 2, 3)] * 2
    for name, value in one.methods["flow"].tensors.items():
        assert torch.equal(value, same.methods["flow"].tensors[name])


def test_bad_input(dense):
    network, statistics = dense
    images, labels = toy_networks.images_and_labels(6, size=(32, 48))
    with pytest.raises(ValueError, match=r"\b1000\b.*known pixels.*\b0\b"):
        toy_networks.fitted(EmbeddingDensity.fitter(), network, images, labels * 0 + 255)
    with pytest.raises(ValueError, match=r"combine.*single.*minimum.*logistic.*'maximum'"):
        EmbeddingDensity(statistics, "maximum")
    with pytest.raises(ValueError, match=r"layer.*\('0', '1'\).*'2'"):
        EmbeddingDensity(statistics, layer="2")
    with pytest.raises(ValueError, match=r"layers.*'penultimate'"):
        EmbeddingDensity.fitter(layers="penultimate")
    with pytest.raises(ValueError, match=r"Sequential.*'stem'.*\b1\b"):
        toy_networks.fitted(EmbeddingDensity.fitter(layers=["stem"]), network, images, labels)
    labels[labels == OUTLIER] = 255
    alone = toy_networks.fitted(
        EmbeddingDensity.fitter(layers=LAYERS, steps=1), network, images, labels
    )
    with pytest.raises(ValueError, match=r"layer weights.*outlier pixels.*minimum"):
        EmbeddingDensity(alone, "logistic")
