"""Scores that are fitted, or need gradients or several forward passes; torch only."""

from ood_seg.detectors.base import Detector, FittedDetector, Fitter
from ood_seg.detectors.deep_ensemble import DeepEnsemble
from ood_seg.detectors.embedding_density import EmbeddingDensity
from ood_seg.detectors.kl_matching import KLMatching
from ood_seg.detectors.mahalanobis import Mahalanobis, RelativeMahalanobis
from ood_seg.detectors.mc_dropout import MCDropout
from ood_seg.detectors.nearest_neighbours import NearestNeighbours
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs, layers_of
from ood_seg.detectors.odin import ODIN
from ood_seg.detectors.rectified import ASH, SCALE, ReAct
from ood_seg.detectors.standardized_max_logit import StandardizedMaxLogit
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.detectors.virtual_logit import VirtualLogit

# The scores with statistics from `ood-seg fit`, by the name of their method.
FITTED: dict[str, type[FittedDetector]] = {
    detector.method: detector
    for detector in (
        StandardizedMaxLogit,
        KLMatching,
        Mahalanobis,
        RelativeMahalanobis,
        NearestNeighbours,
        VirtualLogit,
        ReAct,
        EmbeddingDensity,
    )
}

__all__ = [
    "ASH",
    "FITTED",
    "ODIN",
    "PENULTIMATE",
    "SCALE",
    "DeepEnsemble",
    "Detector",
    "EmbeddingDensity",
    "FittedDetector",
    "Fitter",
    "KLMatching",
    "MCDropout",
    "Mahalanobis",
    "NearestNeighbours",
    "Network",
    "Outputs",
    "ReAct",
    "RelativeMahalanobis",
    "StandardizedMaxLogit",
    "Statistics",
    "StatisticsFile",
    "VirtualLogit",
    "layers_of",
]
