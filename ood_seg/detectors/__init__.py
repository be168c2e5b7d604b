"""Scores that are fitted, or need gradients or several forward passes; torch only."""

from ood_seg.detectors.base import Detector, FittedDetector, Fitter
from ood_seg.detectors.clipped import VRA, ReAct
from ood_seg.detectors.decision_boundary import FDBD
from ood_seg.detectors.deep_ensemble import DeepEnsemble
from ood_seg.detectors.embedding_density import EmbeddingDensity
from ood_seg.detectors.gaussian_mixture import GaussianMixture
from ood_seg.detectors.gradient_norm import GradNorm
from ood_seg.detectors.gram_matrices import GramMatrices
from ood_seg.detectors.hopfield import SHE
from ood_seg.detectors.kl_matching import KLMatching
from ood_seg.detectors.mahalanobis import Mahalanobis, MultiLayerMahalanobis, RelativeMahalanobis
from ood_seg.detectors.mc_dropout import MCDropout
from ood_seg.detectors.nearest_neighbours import NearestNeighbours
from ood_seg.detectors.neighbour_guidance import NNGuide
from ood_seg.detectors.network import PENULTIMATE, Network, Outputs, layers_of
from ood_seg.detectors.odin import ODIN
from ood_seg.detectors.openmax import OpenMax
from ood_seg.detectors.rank_one import RankFeat
from ood_seg.detectors.rectified import ASH, SCALE
from ood_seg.detectors.sparsified import DICE
from ood_seg.detectors.standardized_max_logit import StandardizedMaxLogit
from ood_seg.detectors.statistics import Statistics, StatisticsFile
from ood_seg.detectors.temperature_scaling import TemperatureScaling
from ood_seg.detectors.virtual_logit import VirtualLogit
from ood_seg.detectors.weighted_energy import WeightedEnergy

# The scores with statistics from `ood-seg fit`, by the name of their method.
FITTED: dict[str, type[FittedDetector]] = {
    detector.method: detector
    for detector in (
        StandardizedMaxLogit,
        KLMatching,
        TemperatureScaling,
        OpenMax,
        WeightedEnergy,
        Mahalanobis,
        RelativeMahalanobis,
        MultiLayerMahalanobis,
        GaussianMixture,
        NearestNeighbours,
        NNGuide,
        VirtualLogit,
        ReAct,
        DICE,
        SHE,
        FDBD,
        EmbeddingDensity,
    )
}
# Those without a score for a single pixel: fitted and used from Python, on image-level networks.
IMAGE_LEVEL: dict[str, type[FittedDetector]] = {GramMatrices.method: GramMatrices}

__all__ = [
    "ASH",
    "DICE",
    "FDBD",
    "FITTED",
    "IMAGE_LEVEL",
    "ODIN",
    "PENULTIMATE",
    "SCALE",
    "SHE",
    "VRA",
    "DeepEnsemble",
    "Detector",
    "EmbeddingDensity",
    "FittedDetector",
    "Fitter",
    "GaussianMixture",
    "GradNorm",
    "GramMatrices",
    "KLMatching",
    "MCDropout",
    "Mahalanobis",
    "MultiLayerMahalanobis",
    "NNGuide",
    "NearestNeighbours",
    "Network",
    "OpenMax",
    "Outputs",
    "RankFeat",
    "ReAct",
    "RelativeMahalanobis",
    "StandardizedMaxLogit",
    "Statistics",
    "StatisticsFile",
    "TemperatureScaling",
    "VirtualLogit",
    "WeightedEnergy",
    "layers_of",
]
