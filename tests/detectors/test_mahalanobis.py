"""Mahalanobis distances against loops and scikit-learn, of one layer, several and perturbed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.covariance import EmpiricalCovariance, shrunk_covariance
from sklearn.linear_model import LogisticRegression
from torch import nn
from toy_networks import dense, fitted, image_level, pictures

from ood_seg.detectors import Mahalanobis, Network, Outputs, RelativeMahalanobis, StatisticsFile
from ood_seg.detectors.moments import ClassMoments
from ood_seg.detectors.whitened_distance import nearest_distance
from ood_seg.detectors.whitening import whitening_matrix
from ood_seg.labels import IGNORE, OUTLIER

IMAGES, LABELS = pictures(6, size=(16, 24))
GENERATOR = torch.Generator().manual_seed(8)


def pyramid(seed=5):
    """A dense network whose layers `0` (4 channels) and `2` (5) have different resolutions."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(4, 5, 3, stride=4, padding=1),
        nn.BatchNorm2d(5),
        nn.Conv2d(5, 4, 1),
    )
    return Network(module.eval(), classifier="4", input_std=[255.0, 51.0, 25.5])


def cell_labels(labels, height, width):
    """Label at the centre of each cell, by loops."""
    rows = [(2 * y + 1) * labels.shape[1] // (2 * height) for y in range(height)]
    columns = [(2 * x + 1) * labels.shape[2] // (2 * width) for x in range(width)]
    return labels.numpy()[:, rows][:, :, columns]


def vectors(network, layer):
    """Activations as `(P, D)` float64 and their labels `(P,)`."""
    features = network(IMAGES, [layer]).features[layer].detach().double().numpy()
    labels = cell_labels(LABELS, *features.shape[2:])
    return features.transpose(0, 2, 3, 1).reshape(-1, features.shape[1]), labels.flatten()


def gaussians(values, labels, num_classes=4):
    """Class means and scikit-learn's precision of the centred vectors, as Lee et al. fit them."""
    means = [values[labels == index].mean(axis=0) for index in range(num_classes)]
    centred = [values[labels == index] - means[index] for index in range(num_classes)]
    return means, EmpiricalCovariance().fit(np.concatenate(centred)).precision_


def slow_score(vector, means, precision):
    return min(0.5 * (vector - mean) @ precision @ (vector - mean) for mean in means)


def slow_relative(vector, values, means, precision):
    overall = EmpiricalCovariance().fit(values)
    return slow_score(vector, means, precision) - slow_score(
        vector, [overall.location_], overall.precision_
    )


class TestScore:
    def test_equals_the_paper_with_scikit_learn(self):
        network = dense(seed=3)
        score = Mahalanobis(fitted(Mahalanobis.fitter(["0"]), network, IMAGES, LABELS, [1, 3]))
        assert score.layers == ("0",)
        scores = score(network(IMAGES, score.layers), network)
        values, labels = vectors(network, "0")
        means, precision = gaussians(values, labels)
        expected = [slow_score(vector, means, precision) for vector in values]
        assert scores.shape == (6, 8, 12)
        np.testing.assert_allclose(scores.flatten(), expected, rtol=1e-4)

    def test_relative_equals_the_paper(self):
        network = dense(seed=3)
        fitter = RelativeMahalanobis.fitter(["0"])
        score = RelativeMahalanobis(fitted(fitter, network, IMAGES, LABELS))
        values, labels = vectors(network, "0")
        means, precision = gaussians(values, labels)
        known = values[labels < OUTLIER]
        expected = [slow_relative(vector, known, means, precision) for vector in values]
        scores = score(network(IMAGES, ["0"]), network)
        np.testing.assert_allclose(scores.flatten(), expected, rtol=1e-3, atol=1e-5)

    def test_hand_worked(self):
        # Variance 1 along the first channel and 4 along the second, two means.
        features = torch.tensor([[3.0, 2.0], [10.0, 0.0]])
        means = torch.tensor([[1.0, 0.0], [9.0, 0.0]])
        whitening = whitening_matrix(torch.tensor([[1.0, 0.0], [0.0, 4.0]]).double())
        np.testing.assert_allclose(nearest_distance(features, means, whitening), [2.5, 0.5])

    def test_equal_class_means_have_no_relative_distance(self):
        network = image_level()
        features = torch.randn(200, 6, generator=GENERATOR)
        labels = torch.arange(200) // 100
        mirrored = torch.cat([features[:100], -features[:100]])
        mirrored = mirrored - mirrored.view(2, 100, 6).mean(dim=1).repeat_interleave(100, dim=0)
        outputs = Outputs(torch.zeros(200, 4), {"5": mirrored})
        fitter = RelativeMahalanobis.fitter(["5"])
        fitter.update(outputs, labels, network)
        score = RelativeMahalanobis(StatisticsFile({fitter.method: fitter.result()}))
        assert score(outputs, network).abs().max() < 1e-4

    def test_image_level_features_are_means_over_the_picture(self):
        network = image_level()
        labels = torch.arange(6) % 2
        fitter = Mahalanobis.fitter(["0"], shrinkage=0.1)
        score = Mahalanobis(fitted(fitter, network, IMAGES, labels))
        outputs = network(IMAGES, ["0"])
        values = outputs.features["0"].mean(dim=(2, 3)).double().numpy()
        means = [values[labels.numpy() == index].mean(axis=0) for index in (0, 1)]
        centred = np.concatenate([values[labels.numpy() == i] - means[i] for i in (0, 1)])
        shrunk = shrunk_covariance(EmpiricalCovariance().fit(centred).covariance_, 0.1)
        expected = [slow_score(vector, means, np.linalg.inv(shrunk)) for vector in values]
        np.testing.assert_allclose(score(outputs, network), expected, rtol=1e-3)

    def test_class_that_never_occurs_is_near_nothing(self):
        network = dense(seed=3)
        labels = LABELS.where(LABELS != 2, IGNORE)
        score = Mahalanobis(fitted(Mahalanobis.fitter(["0"]), network, IMAGES, labels))
        assert score.counts_0.tolist()[2] == 0
        values, _ = vectors(network, "0")
        own = cell_labels(labels, 8, 12).flatten()
        means = [values[own == index].mean(axis=0) for index in (0, 1, 3)]
        centred = np.concatenate(
            [values[own == index] - values[own == index].mean(axis=0) for index in (0, 1, 3)]
        )
        precision = EmpiricalCovariance().fit(centred).precision_
        expected = [slow_score(vector, means, precision) for vector in values]
        scores = score(network(IMAGES, ["0"]), network)
        np.testing.assert_allclose(scores.flatten(), expected, rtol=1e-4)

    def test_half_precision_is_scored_in_float32(self):
        network = dense(seed=3)
        score = Mahalanobis(fitted(Mahalanobis.fitter(["0"]), network, IMAGES, LABELS))
        outputs = network(IMAGES, ["0"])
        half = Outputs(outputs.logits.half(), {"0": outputs.features["0"].half()})
        scores = score(half, network)
        assert scores.dtype == torch.float32
        rounded = Outputs(outputs.logits, {"0": outputs.features["0"].half().float()})
        torch.testing.assert_close(scores, score(rounded, network))

    def test_single_class(self):
        network = dense(classes=1, seed=3)
        labels = LABELS.where(LABELS > 253, 0)
        for kind in (Mahalanobis, RelativeMahalanobis):
            score = kind(fitted(kind.fitter(["0"]), network, IMAGES, labels))
            assert score(network(IMAGES, ["0"]), network).isfinite().all()


class TestInvariances:
    FEATURES = torch.randn(300, 4, generator=GENERATOR, dtype=torch.float64)
    CLASSES = torch.arange(300) % 3

    def distances(self, features, classes, probes):
        moments = ClassMoments(3)
        moments.update(features, classes)
        return nearest_distance(probes, moments.means, whitening_matrix(moments.covariance()))

    def test_invertible_linear_maps_of_the_features(self):
        features = self.FEATURES + self.CLASSES[:, None]
        mixing = torch.randn(4, 4, generator=GENERATOR, dtype=torch.float64)
        mapped = features @ mixing * torch.tensor([1e-4, 1, 1e3, 1]) + 5
        expected = self.distances(features, self.CLASSES, features)
        torch.testing.assert_close(self.distances(mapped, self.CLASSES, mapped), expected)

    def test_order_of_classes(self):
        expected = self.distances(self.FEATURES, self.CLASSES, self.FEATURES)
        permuted = self.distances(self.FEATURES, (self.CLASSES + 1) % 3, self.FEATURES)
        torch.testing.assert_close(permuted, expected)

    def test_mean_distance_of_one_gaussian_is_half_the_channels(self):
        moments = ClassMoments(1)
        moments.update(self.FEATURES)
        whitening = whitening_matrix(moments.covariance())
        mean = nearest_distance(self.FEATURES, moments.means, whitening).mean()
        assert mean.item() == pytest.approx(2)

    def test_chunks_and_layout(self, monkeypatch):
        maps = torch.randn(2, 4, 5, 7, generator=GENERATOR)
        means, whitening = torch.randn(3, 4, generator=GENERATOR), torch.eye(4)
        expected = nearest_distance(maps, means, whitening)
        monkeypatch.setattr("ood_seg.detectors.whitened_distance._CHUNK", 8)
        torch.testing.assert_close(nearest_distance(maps, means, whitening), expected)
        flat = nearest_distance(maps.permute(0, 2, 3, 1).reshape(-1, 4), means, whitening)
        torch.testing.assert_close(flat.view(2, 5, 7), expected)

    def test_shrinkage_is_that_of_scikit_learn(self):
        covariance = torch.from_numpy(np.cov(self.FEATURES.T.numpy()))
        whitening = whitening_matrix(covariance, shrinkage=0.3)
        expected = np.linalg.inv(shrunk_covariance(covariance.numpy(), 0.3))
        np.testing.assert_allclose(whitening.T @ whitening, expected, rtol=1e-9, atol=1e-12)


class TestLayers:
    def layer_scores(self, network, layers=("2", "0")):
        """Slow scores `(P, L)` at the cells of the larger map, and labels `(P,)`."""
        columns = []
        for layer in layers:
            values, labels = vectors(network, layer)
            means, precision = gaussians(values, labels)
            scores = np.array([slow_score(vector, means, precision) for vector in values])
            size = network(IMAGES, [layer]).features[layer].shape[2:]
            scores = torch.from_numpy(scores.reshape(6, *size))
            columns.append(cell_labels(scores, 16, 24).flatten())
        return np.stack(columns, axis=1), LABELS.numpy().flatten()

    def expected(self, network, weights, bias):
        """The weighted maps of the score, the smaller interpolated."""
        maps = []
        for layer in ("2", "0"):
            own = Mahalanobis(fitted(Mahalanobis.fitter([layer]), network, IMAGES, LABELS))
            one = own(network(IMAGES, [layer]), network)[:, None]
            maps.append(F.interpolate(one, (16, 24), mode="bilinear")[:, 0])
        return weights[0] * maps[0] + weights[1] * maps[1] + bias

    def test_weights_are_those_of_a_logistic_regression_on_outliers(self):
        network = pyramid()
        fitter = Mahalanobis.fitter(["2", "0"], sample_size=100_000)
        score = Mahalanobis(fitted(fitter, network, IMAGES, LABELS, [4]))
        values, labels = self.layer_scores(network)
        used = labels != IGNORE
        values, is_outlier = values[used], labels[used] == OUTLIER
        mean, std = values.mean(axis=0), values.std(axis=0)
        reference = LogisticRegression(tol=1e-10).fit((values - mean) / std, is_outlier)
        weights = reference.coef_[0] / std
        np.testing.assert_allclose(score.weights, weights, rtol=1e-3, atol=1e-5)
        bias = reference.intercept_[0] - weights @ mean
        assert score.bias.item() == pytest.approx(bias, rel=1e-3)
        assert score.options["weights"] == "logistic regression"
        scores = score(network(IMAGES, score.layers), network)
        assert scores.shape == (6, 16, 24)
        torch.testing.assert_close(
            scores, self.expected(network, weights, bias).float(), rtol=1e-3, atol=1e-3
        )

    def test_without_outliers_layers_are_standardised_and_averaged(self):
        network = pyramid()
        fitter = Mahalanobis.fitter(["2", "0"], sample_size=100_000)
        labels = LABELS.where(LABELS != OUTLIER, IGNORE)
        score = Mahalanobis(fitted(fitter, network, IMAGES, labels))
        values, labels = self.layer_scores(network)
        values = values[labels < OUTLIER]
        weights = 1 / (2 * values.std(axis=0, ddof=1))
        np.testing.assert_allclose(score.weights, weights, rtol=1e-4)
        assert score.bias.item() == pytest.approx(-(weights @ values.mean(axis=0)), rel=1e-4)

    def test_order_of_layers_does_not_matter(self):
        network = pyramid()
        scores = []
        for layers in (["2", "0"], ["0", "2"]):
            fitter = RelativeMahalanobis.fitter(layers, sample_size=500)
            score = RelativeMahalanobis(fitted(fitter, network, IMAGES, LABELS))
            scores.append(score(network(IMAGES, layers), network))
        torch.testing.assert_close(scores[0], scores[1], rtol=1e-4, atol=1e-4)


class TestPerturbation:
    def test_step_lowers_the_distance_as_the_paper_says(self):
        network = image_level()
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
        message = (
            r"layer '0' takes at least 33 known pixels \(30 channels and 3 .*found 10.*shrinkage"
        )
        with pytest.raises(ValueError, match=message):
            fitter.result()
        fitter = Mahalanobis.fitter(["0"], shrinkage=0.1)
        fitter.update(network(IMAGES, ["0"]), labels, network)
        assert fitter.result().tensors["whitening_0"].isfinite().all()

    def test_no_known_pixel(self):
        network = dense()
        fitter = Mahalanobis.fitter()
        fitter.update(network(IMAGES, fitter.layers), torch.full_like(LABELS, OUTLIER), network)
        with pytest.raises(ValueError, match="known pixels to fit on, found none"):
            fitter.result()

    def test_dead_channels(self):
        network = dense(seed=3)
        network.module[0].weight.data[[1, 4]] = 0
        with pytest.raises(
            ValueError, match=r"2 of its 6 channels \(1, 4\) never vary.*shrinkage=0.01"
        ):
            fitted(Mahalanobis.fitter(["0"]), network, IMAGES, LABELS)
        file = fitted(Mahalanobis.fitter(["0"], shrinkage=0.01), network, IMAGES, LABELS)
        assert Mahalanobis(file)(network(IMAGES, ["0"]), network).isfinite().all()

    def test_dependent_channels(self):
        network = dense(seed=3)
        weight = network.module[0].weight.data
        weight[5] = weight[0] - 2 * weight[1]
        with pytest.raises(ValueError, match="6 channels vary in only 5 independent directions"):
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
        with pytest.raises(ValueError, match="layer '0' is needed, the outputs hold penultimate"):
            Mahalanobis(file)(network(IMAGES, ["penultimate"]), network)
        other = Outputs(outputs.logits, {"0": outputs.features["0"][:, :3]})
        with pytest.raises(ValueError, match=r"of 6 channels.*have 3"):
            Mahalanobis(file)(other, network)
        with pytest.raises(ValueError, match="epsilon must be 0 or more"):
            Mahalanobis(file, epsilon=-1)
        for layers in ("0", [], ["0", "0"]):
            with pytest.raises(ValueError, match="names of different layers"):
                Mahalanobis.fitter(layers)
        with pytest.raises(ValueError, match="shrinkage must be 0 to 1"):
            Mahalanobis.fitter(shrinkage=2)
