"""Small random networks, dense and image-level, and labelled data for them."""

import itertools

import torch
from torch import nn

from ood_seg.detectors import FITTED, Network, StatisticsFile
from ood_seg.labels import IGNORE, OUTLIER


def dense(channels=6, classes=4, *, bias=True, seed=0, dropout=0.0, extra=0):
    """A dense network at half the size of the images; `extra` channels after the classes."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Dropout2d(dropout),
        nn.Conv2d(channels, classes + extra, 1, bias=bias),
    )
    return Network(module.eval().requires_grad_(False), classifier="3", num_classes=classes)


def image_level(channels=6, classes=4, *, seed=0, dropout=0.0):
    """An image-level network with a linear classifier."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(channels, classes),
    )
    return Network(module.eval().requires_grad_(False), classifier="5")


def images_and_labels(count=5, *, seed=1, classes=4, size=(8, 12)):
    """Images and labels with outlier and ignored pixels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, *size, generator=generator)
    labels = torch.randint(classes, (count, *size), generator=generator)
    labels[:, :2, :5] = OUTLIER
    labels[:, -2:] = IGNORE
    return images, labels


def fitted(fitter, network, images, labels, cuts=()):
    """The statistics of a fitter that gets the images in batches."""
    bounds = [0, *cuts, len(images)]
    for low, high in itertools.pairwise(bounds):
        outputs = network(images[low:high], fitter.layers)
        fitter.update(outputs, labels[low:high], network)
    fitter.reduce()
    section = fitter.result()
    return StatisticsFile({section.method: section}, fingerprint=network.fingerprint())


def quick_fitter(method, layers=("0", "penultimate")):
    """A cheap fitter of the method, with several layers where supported."""
    options = {
        "mahalanobis": {"layers": layers},
        "relative-mahalanobis": {"layers": layers},
        "multi-mahalanobis": {"layers": layers},
        "flow": {"layers": layers, "steps": 20, "sample_size": 2000},
    }
    return FITTED[method].fitter(**options.get(method, {}))


def two_sizes(classes=4, *, seed=0):
    """A dense network with layers `0` at half and `2` at a quarter of the images' size."""
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(6, 5, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(5, classes, 1),
    )
    return Network(module.eval().requires_grad_(False), classifier="4")
