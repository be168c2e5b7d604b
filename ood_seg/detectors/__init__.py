"""Scores that are fitted on known data, or need gradients or several forward passes; pure torch."""

from ood_seg.detectors.base import Detector, FittedDetector, Fitter
from ood_seg.detectors.nearest_neighbours import NearestNeighbours
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs, layers_of
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.detectors.virtual_logit import VirtualLogit

# The scores that `ood-seg fit` makes statistics for, by the name of their method.
FITTED: dict[str, type[FittedDetector]] = {
    detector.method: detector for detector in (NearestNeighbours, VirtualLogit)
}

__all__ = [
    "FITTED",
    "PENULTIMATE",
    "Detector",
    "FittedDetector",
    "Fitter",
    "NearestNeighbours",
    "Network",
    "Outputs",
    "Statistics",
    "StatisticsFile",
    "VirtualLogit",
    "layers_of",
]
