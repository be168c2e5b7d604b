"""Parameters of a calibrated curve, as calibration files and exported models hold them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from ood_seg.io.fields import Fields


def curve_parameters(fields: Fields, *, isotonic: bool) -> dict[str, Any]:
    """`scores` and `probabilities` of an isotonic curve; else `slope` and `offset`.

    Raises:
        ValueError: a field is missing, not finite, or the probability would fall with the score.
    """
    if not isotonic:
        slope = fields.number("slope")
        if not slope > 0:
            raise fields.wrong("slope", "above 0, as probabilities rise with the score")
        return {"slope": slope, "offset": fields.number("offset")}
    scores, probabilities = fields.numbers("scores"), fields.numbers("probabilities", 0, 1)
    if len(scores) < 1 or len(scores) != len(probabilities):
        raise fields.wrong("scores", f"as long as the {len(probabilities)} probabilities")
    if not all(low < high for low, high in pairwise(scores)):
        raise fields.wrong("scores", "strictly ascending")
    if not all(low <= high for low, high in pairwise(probabilities)):
        raise fields.wrong("probabilities", "never falling")
    return {"scores": scores, "probabilities": probabilities}
