"""Pixel-wise anomaly detection for semantic segmentation.

The core modules (`labels`, `scores`, `smoothing`, `pasting`, `losses`, `metrics`) are pure
torch and NumPy; mmsegmentation is needed only by `models`, `datasets`, `evaluation`, `engine`
and `apis`, which configs load through `ood_seg.register`. Importing this package imports none
of them.
"""

__version__ = "0.1.0"
