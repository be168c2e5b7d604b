"""Scores that are fitted on known data, or need gradients or several forward passes; pure torch."""

from ood_seg.detectors.base import Detector, FittedDetector, Fitter
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs, layers_of
from ood_seg.detectors.statistics import Statistics, StatisticsFile

__all__ = [
    "PENULTIMATE",
    "Detector",
    "FittedDetector",
    "Fitter",
    "Network",
    "Outputs",
    "Statistics",
    "StatisticsFile",
    "layers_of",
]
