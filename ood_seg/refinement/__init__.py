"""Refinement of score maps by objects: segments, masks, boxes, saliency; NumPy and OpenCV only.

refinement = Refinement.of(["segments", "saliency=maps/,weight=8"])
scores = refinement(scores, Evidence(image=image, labels=labels, name="street"))
"""

from ood_seg.refinement.boxes import Box, lowered_in_known_boxes
from ood_seg.refinement.evidence import Evidence
from ood_seg.refinement.pooling import layered, pooled
from ood_seg.refinement.refinement import Refinement
from ood_seg.refinement.saliency import raised_by_saliency
from ood_seg.refinement.segments import grid_segments, without_slivers

__all__ = [
    "Box",
    "Evidence",
    "Refinement",
    "grid_segments",
    "layered",
    "lowered_in_known_boxes",
    "pooled",
    "raised_by_saliency",
    "without_slivers",
]
