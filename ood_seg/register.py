"""Registers everything of `ood_seg` with mmsegmentation; the only module that configs import.

`custom_imports = dict(imports=['ood_seg.register'])` is set in `configs/_base_/default_runtime.py`.
All names listed here are then in mmseg's registries.
"""

from mmseg.registry import MODELS

from ood_seg import detectors, losses, scores
from ood_seg.classification.cifar_batches import CifarBatchesDataset  # noqa: F401
from ood_seg.classification.classifier import ImageClassifier  # noqa: F401
from ood_seg.classification.datasets import ClassFolderDataset  # noqa: F401
from ood_seg.classification.metrics import (  # noqa: F401
    ImageAccuracyMetric,
    ImageAnomalyMetric,
)
from ood_seg.classification.networks import (  # noqa: F401
    CifarResNet18,
    CifarResNet20,
    WideResNet40x2,
    external_classifier,
)
from ood_seg.classification.outlier_images import (  # noqa: F401
    ImageArrayDataset,
    ImageFolderDataset,
    NoiseDataset,
    TinyImageNetDataset,
)
from ood_seg.classification.outlier_stream import KnownWithOutliers  # noqa: F401
from ood_seg.classification.transforms import (  # noqa: F401
    CropPaddedAndFlip,
    LoadImageOfClass,
    PackImageOfClass,
)
from ood_seg.datasets import (  # noqa: F401
    AnomalyFolderDataset,
    CamVidDataset,
    CocoObjects,
    CropOrPad,
    CutoutFolder,
    FishyscapesDataset,
    KittiSemanticsDataset,
    LoadCheckedImage,
    LoadCheckedLabels,
    LostAndFoundDataset,
    OutlierMix,
    PackOutlierImage,
    PasteOutliers,
    RoadAnomalyDataset,
    ScenePieces,
    SeededSamples,
    SMIYCDataset,
    StreamSampler,
    StreetHazardsDataset,
    TakeSizeAsOriginal,
)
from ood_seg.engine import (  # noqa: F401
    AnomalyVisualizationHook,
    ImageLevelTestLoop,
    MultiSetTestLoop,
    OutlierPriorHook,
    RandomStateHook,
    WholeCheckpointHook,
)
from ood_seg.evaluation import AnomalyMetric, KnownIoUMetric  # noqa: F401
from ood_seg.models import (  # noqa: F401
    DeepWV3PlusHead,
    DenseHybridHead,
    EnergyHead,
    ERFNetHead,
    LearnedHead,
    OODEncoderDecoder,
    OODTTAModel,
    WideResNet38,
    residual_pattern_head,
)

# The core does not use registries, so its modules are registered here.
for _module in (
    scores.MaxSoftmax,
    scores.MaxLogit,
    scores.Entropy,
    scores.GeneralizedEntropy,
    scores.Energy,
    scores.ResidualEnergy,
    scores.DenseHybrid,
    scores.LikelihoodRatio,
    scores.OutlierOdds,
    scores.OutlierMaxSoftmax,
    scores.EvidentialRatio,
    scores.ExtraClass,
    scores.DifferentialEntropy,
    scores.MutualInformation,
    scores.Vacuity,
    detectors.StandardizedMaxLogit,
    detectors.KLMatching,
    detectors.ODIN,
    detectors.Mahalanobis,
    detectors.RelativeMahalanobis,
    detectors.MultiLayerMahalanobis,
    detectors.GaussianMixture,
    detectors.NearestNeighbours,
    detectors.NNGuide,
    detectors.VirtualLogit,
    detectors.ReAct,
    detectors.VRA,
    detectors.ASH,
    detectors.SCALE,
    detectors.DICE,
    detectors.SHE,
    detectors.FDBD,
    detectors.GradNorm,
    detectors.RankFeat,
    detectors.TemperatureScaling,
    detectors.OpenMax,
    detectors.WeightedEnergy,
    detectors.EmbeddingDensity,
    detectors.GramMatrices,
    detectors.MCDropout,
    detectors.DeepEnsemble,
    losses.EnergyLoss,
    losses.BalancedEnergyLoss,
    losses.CrossEntropyEnergyLoss,
    losses.CrossEntropyBalancedEnergyLoss,
    losses.OutlierExposureLoss,
    losses.MetaOODLoss,
    losses.AbstentionLoss,
    losses.SmoothnessLoss,
    losses.SparsityLoss,
    losses.BalancedSparsityLoss,
    losses.ResidualPatternLoss,
    losses.LikelihoodRatioLoss,
    losses.OutlierOddsLoss,
    losses.EvidentialLoss,
    losses.ExtraClassLoss,
    losses.DenseHybridLoss,
    losses.DirichletLoss,
    losses.RelativeMarginLoss,
    losses.ContextRobustContrastiveLoss,
):
    MODELS.register_module(module=_module, force=True)
