"""GMM against SciPy's densities, and in limiting cases."""

import numpy as np
import pytest
import torch
import toy_networks
from scipy.stats import multivariate_normal

from ood_seg.detectors import GaussianMixture, Mahalanobis, Outputs
from ood_seg.detectors.gaussian_mixture import mixture_density

BUILDS = [toy_networks.dense, toy_networks.image_level]


def known_data(build, count=60):
    images, labels = toy_networks.images_and_labels(count)
    if build is toy_networks.image_level:
        labels = torch.arange(count) % 4
        labels[-2], labels[-1] = 254, 255
    return images, labels


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("shrinkage", [0.01, 0.3])
def test_equals_scipy(build, shrinkage):
    network = build()
    images, labels = known_data(build)
    fitter = GaussianMixture.fitter(shrinkage=shrinkage)
    score = GaussianMixture(toy_networks.fitted(fitter, network, images, labels, (7, 30)))
    outputs = network(images, ("penultimate",))
    features = outputs.features["penultimate"].double().movedim(1, -1).numpy()
    at = (labels[:, 1::2, 1::2] if labels.ndim == 3 else labels).numpy()
    density, total = 0, (at < 254).sum()
    for index in range(4):
        rows = features[at == index]
        covariance = np.cov(rows.T, bias=True)
        even = np.trace(covariance) / 6 * np.eye(6)
        normal = multivariate_normal(
            rows.mean(axis=0), (1 - shrinkage) * covariance + shrinkage * even
        )
        density = density + len(rows) / total * normal.pdf(features)
    found = score(outputs, network)
    assert found.shape == at.shape
    np.testing.assert_allclose(found.numpy(), -np.log(density), rtol=1e-4, atol=1e-3)


def test_one_class_is_the_mahalanobis_distance_up_to_a_constant():
    network = toy_networks.dense(classes=1)
    images, labels = toy_networks.images_and_labels(classes=1)
    outputs = network(images, ("penultimate",))
    gmm = GaussianMixture(
        toy_networks.fitted(GaussianMixture.fitter(shrinkage=0.1), network, images, labels)
    )(outputs, network)
    fitter = Mahalanobis.fitter(shrinkage=0.1)
    distance = Mahalanobis(toy_networks.fitted(fitter, network, images, labels))(outputs, network)
    assert (gmm - distance).std() < 1e-4


def test_absent_and_rare_classes():
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    labels[labels == 3] = 0
    labels[0, 1, 9] = 3  # one pixel, at the centre of a cell
    labels[labels == 2] = 255
    statistics = toy_networks.fitted(GaussianMixture.fitter(), network, images, labels)
    section = statistics.methods["gmm"].tensors
    assert section["counts"].tolist()[2:] == [0, 1]
    assert not section["whitening"][2].any()
    assert section["whitening"][3].isfinite().all()
    assert section["whitening"][3].any()
    outputs = network(images, ("penultimate",))
    assert GaussianMixture(statistics)(outputs, network).isfinite().all()


def test_far_activations_stay_finite_and_ordered():
    network = toy_networks.dense()
    statistics = toy_networks.fitted(
        GaussianMixture.fitter(), network, *toy_networks.images_and_labels()
    )
    far = torch.ones(1, 6, 1, 3) * torch.tensor([10.0, 1e3, 1e5])
    found = GaussianMixture(statistics)(Outputs(far[:, :4], {"penultimate": far}), network)
    assert found.isfinite().all()
    assert (found.flatten().diff() > 0).all()


def test_bad_input():
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    with pytest.raises(ValueError, match=r"GMM.*one known pixel"):
        toy_networks.fitted(GaussianMixture.fitter(), network, images, labels * 0 + 254)
    with pytest.raises(ValueError, match=r"shrinkage.*1\.5"):
        GaussianMixture.fitter(shrinkage=1.5)
    flat = toy_networks.dense()
    flat.module[0].bias[0] = -1e3  # a channel that is always 0
    with pytest.raises(ValueError, match=r"penultimate, class 0.*singular.*shrinkage"):
        toy_networks.fitted(GaussianMixture.fitter(shrinkage=0), flat, images, labels)
    with pytest.raises(ValueError, match=r"\b2 channels.*\b3\b"):
        mixture_density(torch.zeros(1, 3), torch.zeros(1, 2), torch.zeros(1, 2, 2), torch.zeros(1))
