"""Post-hoc anomaly scores computed from logits alone.

Every function maps logits `(N, C, *)` to scores `(N, *)`, **higher means more anomalous**, works
on dense and on image-level logits, keeps the device and is differentiable. A NumPy array of logits
gives an array of scores, by the same formula. Half-precision logits
are scored in float32, because a logsumexp in float16 loses the differences that ranking needs.
Scores are unbounded unless stated otherwise; only their order matters for evaluation. With a
single class, scores of the softmax are constant; energy and maximum logit are the negative logit.
"""

from ood_seg.scores.dirichlet import (
    DifferentialEntropy,
    MutualInformation,
    Vacuity,
    differential_entropy,
    mutual_information,
    vacuity,
)
from ood_seg.scores.energies import (
    DenseHybrid,
    Energy,
    ResidualEnergy,
    dense_hybrid,
    energy,
    residual_energy,
    split_corrected,
    weighted_energy,
)
from ood_seg.scores.entropies import (
    Entropy,
    GeneralizedEntropy,
    entropy,
    generalized_entropy,
)
from ood_seg.scores.learned import (
    EvidentialRatio,
    ExtraClass,
    LikelihoodRatio,
    OutlierMaxSoftmax,
    OutlierOdds,
    evidential_ratio,
    extra_class,
    likelihood_ratio,
    outlier_max_softmax,
    outlier_odds,
)
from ood_seg.scores.maximum import MaxLogit, MaxSoftmax, max_logit, max_softmax

__all__ = [
    "DenseHybrid",
    "DifferentialEntropy",
    "Energy",
    "Entropy",
    "EvidentialRatio",
    "ExtraClass",
    "GeneralizedEntropy",
    "LikelihoodRatio",
    "MaxLogit",
    "MaxSoftmax",
    "MutualInformation",
    "OutlierMaxSoftmax",
    "OutlierOdds",
    "ResidualEnergy",
    "Vacuity",
    "dense_hybrid",
    "differential_entropy",
    "energy",
    "entropy",
    "evidential_ratio",
    "extra_class",
    "generalized_entropy",
    "likelihood_ratio",
    "max_logit",
    "max_softmax",
    "mutual_information",
    "outlier_max_softmax",
    "outlier_odds",
    "residual_energy",
    "split_corrected",
    "vacuity",
    "weighted_energy",
]
