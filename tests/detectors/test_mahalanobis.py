"""Mahalanobis distances against loops and scikit-learn, of one layer and of several."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gaussian_references import (
    IMAGES,
    LABELS,
    cell_labels,
    gaussians,
    pyramid,
    slow_relative,
    slow_score,
    vectors,
)
from sklearn.covariance import EmpiricalCovariance, shrunk_covariance
from sklearn.linear_model import LogisticRegression
from toy_networks import dense, fitted, image_level

from ood_seg.detectors import Mahalanobis, Outputs, RelativeMahalanobis, StatisticsFile
from ood_seg.detectors.moments import ClassMoments
from ood_seg.detectors.whitened_distance import nearest_distance
from ood_seg.detectors.whitening import whitening_matrix
from ood_seg.labels import IGNORE, OUTLIER

GENERATOR = torch.Generator().manual_seed(8)


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

    def test_image_level_features_are_means_over_the_image(self):
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

    def test_class_that_never_occurs_is_left_out(self):
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
            options = {"mode": "bilinear", "align_corners": network.align_corners}
            maps.append(F.interpolate(one, (16, 24), **options)[:, 0])
        return weights[0] * maps[0] + weights[1] * maps[1] + bias

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_weights_are_those_of_a_logistic_regression_on_outliers(self, align_corners):
        network = pyramid()
        network.align_corners = align_corners
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
