"""A result in the format that a request asks for."""

from __future__ import annotations

from typing import Literal

import numpy as np
from fastapi import HTTPException, Response
from fastapi.responses import JSONResponse

from ood_seg.perception.core.result import AnomalyResult, npy_bytes, png_bytes

Format = Literal["json", "overlay", "labels", "mask", "scores"]


def render(result: AnomalyResult, format: Format) -> Response:
    """Return the result in the requested format.

    Raises:
        HTTPException: 409, a mask is requested and there is no threshold.
    """
    if format == "json":
        return JSONResponse(result.to_dict())
    if format == "scores":
        return Response(npy_bytes(result.anomaly), media_type="application/octet-stream")
    if format == "labels":
        return _png(result.labels)
    if format == "overlay":
        return _png(result.overlay())
    if result.mask is None:
        raise HTTPException(409, "a mask needs a threshold: give ?threshold=NUMBER")
    return _png(result.mask * np.uint8(255))


def _png(image: np.ndarray) -> Response:
    return Response(png_bytes(image), media_type="image/png")
