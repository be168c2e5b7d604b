"""Images of an image-level set for a report: on the wrong side, in the middle, on the right."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2

from ood_seg.io.images import read_image
from ood_seg.metrics.formatting import number, percent
from ood_seg.reports.evaluations import Evaluations
from ood_seg.reports.gallery import Example, Gallery, Panel, chosen_places, panel

# Small ones: more than of score maps.
IMAGES = 24
_WIDTH = 160


def image_gallery(evaluations: Evaluations, count: int) -> Gallery:
    """Half of `count` outlier images and half known ones, by their AUROC for the first method.

    An image that has no file of its own, such as one of a python batch, is named without a panel.
    """
    first = next(iter(evaluations.values()))
    examples, problems = [], []
    for kind, most in ((1, count - count // 2), (0, count // 2)):
        rows = [image for image in first.get("images") or [] if image["anomalous"] == kind]
        for place, row in chosen_places(sorted(rows, key=lambda row: row["auroc"]), most):
            try:
                panels = _panels(row)
            except (OSError, ValueError) as error:
                problems.append(f"{row['name']} is not shown: {error}")
                continue
            examples.append(Example(row["name"], place, _text(row, evaluations), panels))
    return Gallery(examples, {}, problems)


def _text(row: Mapping[str, Any], evaluations: Evaluations) -> str:
    kind = "outlier" if row["anomalous"] else f"known, {row['label']}"
    parts = []
    for label, one in evaluations.items():
        found = next((image for image in one["images"] if image["name"] == row["name"]), None)
        if found is not None:
            parts.append(
                (f"{label}: " if len(evaluations) > 1 else "")
                + (f"predicted {found['predicted']}, " if found["predicted"] else "")
                + f"score {number(found['score'])}, AUROC {percent(found['auroc'])} %"
            )
    return f"{kind}; {'; '.join(parts)}"


def _panels(row: Mapping[str, Any]) -> list[Panel]:
    if not Path(row["image"]).is_file():
        return []
    image = read_image(row["image"], grey_ok=True)
    height, width = image.shape[:2]
    size = (_WIDTH, max(1, round(height * _WIDTH / width)))
    # Small images stay as sharp as they are.
    method = cv2.INTER_NEAREST if width < _WIDTH else cv2.INTER_AREA
    shown = cv2.cvtColor(cv2.resize(image, size, interpolation=method), cv2.COLOR_BGR2RGB)
    return [panel(row["label"] or "outlier", f"{row['name']}: the image", shown)]
