"""mmengine hooks; each does one thing."""

from ood_seg.engine.hooks.anomaly_visualization_hook import AnomalyVisualizationHook
from ood_seg.engine.hooks.outlier_prior_hook import OutlierPriorHook
from ood_seg.engine.hooks.random_state_hook import RandomStateHook
from ood_seg.engine.hooks.whole_checkpoint_hook import WholeCheckpointHook

__all__ = ["AnomalyVisualizationHook", "OutlierPriorHook", "RandomStateHook", "WholeCheckpointHook"]
