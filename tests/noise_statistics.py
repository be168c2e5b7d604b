"""Statistics of every fitted score for a network with seeded random weights, made on noise."""

from __future__ import annotations

import copy
from pathlib import Path

import torch


def fit_on_noise(model: dict, path: Path, *, seed: int = 0) -> Path:
    """Fit all methods and write the file.

    Args:
        model: config of a model of 19 classes; built after `torch.manual_seed(seed)`.
        path: of the file.
        seed: of weights and data.
    """
    from mmseg.registry import MODELS

    from ood_seg.detectors import StatisticsFile
    from ood_seg.engine.fitting import fit_statistics, make_fitters
    from ood_seg.models.detector_scores import network_of

    torch.manual_seed(seed)
    network = network_of(MODELS.build(copy.deepcopy(model)).eval())
    images, labels = torch.randn(4, 3, 160, 224), torch.randint(0, 19, (4, 160, 224))
    labels[:, 40:80, 40:80] = 254
    # Random weights leave channels alike; shrinkage makes their covariance regular.
    regular = {"shrinkage": 0.1}
    options = {
        "flow": {"steps": 1, "layers": ("penultimate", "decode_head.conv_seg")},
        "mahalanobis": regular,
        "relative-mahalanobis": regular,
        "multi-mahalanobis": {"layers": ("penultimate", "decode_head.conv_seg"), **regular},
    }
    fitters = make_fitters(["all"], {}, options)
    found = fit_statistics(network, [(images, labels)], fitters, num_classes=19)
    if found.failures:
        raise ValueError(str(found.failures))
    StatisticsFile(found.statistics, network.fingerprint()).save(path)
    return path
