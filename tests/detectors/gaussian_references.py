"""Mahalanobis distances by loops and scikit-learn, with the networks and data of the tests."""

import numpy as np
import torch
from sklearn.covariance import EmpiricalCovariance
from torch import nn
from toy_networks import images_and_labels

from ood_seg.detectors import Network

IMAGES, LABELS = images_and_labels(6, size=(16, 24))


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
    """Class means and scikit-learn's precision of the centred vectors, as in Lee et al."""
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
