"""mmengine adapters: hooks, loops, and the measurement of the outlier prior."""

from ood_seg.engine.hooks import AnomalyVisualizationHook, OutlierPriorHook, RandomStateHook
from ood_seg.engine.loops import MultiSetTestLoop
from ood_seg.engine.outlier_prior import count_outlier_predictions

__all__ = [
    "AnomalyVisualizationHook",
    "MultiSetTestLoop",
    "OutlierPriorHook",
    "RandomStateHook",
    "count_outlier_predictions",
]
