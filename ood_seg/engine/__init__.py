"""Training, testing and fitting from Python, and the mmengine hooks and loops that they use."""

from ood_seg import compat, startup

# The original OpenMMLab distributions need it before anything imports mmseg.
compat.apply()
with startup.quiet_imports():
    import mmseg.datasets  # noqa: F401

from ood_seg.engine.fitting import fit
from ood_seg.engine.hooks import (
    AnomalyVisualizationHook,
    OutlierPriorHook,
    RandomStateHook,
    WholeCheckpointHook,
)
from ood_seg.engine.loops import ImageLevelTestLoop, MultiSetTestLoop
from ood_seg.engine.outlier_prior import count_outlier_predictions
from ood_seg.engine.pretrained import estimate_outlier_prior, report_margins
from ood_seg.engine.runner import build_runner, load_config
from ood_seg.engine.selection import select_checkpoint
from ood_seg.engine.testing import test
from ood_seg.engine.training import train

__all__ = [
    "AnomalyVisualizationHook",
    "ImageLevelTestLoop",
    "MultiSetTestLoop",
    "OutlierPriorHook",
    "RandomStateHook",
    "WholeCheckpointHook",
    "build_runner",
    "count_outlier_predictions",
    "estimate_outlier_prior",
    "fit",
    "load_config",
    "report_margins",
    "select_checkpoint",
    "test",
    "train",
]
