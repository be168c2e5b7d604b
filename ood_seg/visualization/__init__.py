"""Images of predictions: label overlays, heat maps, and figures that show them side by side."""

from ood_seg.visualization.figures import (
    ComparisonRow,
    comparison_figure,
    image_grid,
    prediction_figure,
    save_figure,
)
from ood_seg.visualization.overlays import (
    COLOUR_MAP,
    DECISION_COLOURS,
    blend,
    check_alpha,
    completed_range,
    decision_overlay,
    ground_truth_overlay,
    heat_map,
    label_overlay,
    score_range,
)

__all__ = [
    "COLOUR_MAP",
    "DECISION_COLOURS",
    "ComparisonRow",
    "blend",
    "check_alpha",
    "comparison_figure",
    "completed_range",
    "decision_overlay",
    "ground_truth_overlay",
    "heat_map",
    "image_grid",
    "label_overlay",
    "prediction_figure",
    "save_figure",
    "score_range",
]
