"""A result in the format that a request asks for."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Literal

import numpy as np
from fastapi import HTTPException, Response
from fastapi.responses import JSONResponse

from ood_seg.perception.core.overlay import DECISION_STYLES
from ood_seg.perception.core.result import AnomalyResult, npy_bytes, png_bytes

Format = Literal["json", "overlay", "labels", "mask", "scores", "maps"]
Style = Literal["decision", "heat", "classes", "side-by-side"]


def render(result: AnomalyResult, format: Format, style: Style | None = None) -> Response:
    """Return the result in the requested format; `style` is that of an overlay.

    Raises:
        HTTPException: 409, a mask or a style that shows the decision, and there is no threshold.
    """
    if format == "json":
        return JSONResponse(result.to_dict())
    if format == "scores":
        return Response(npy_bytes(result.anomaly), media_type="application/octet-stream")
    if format == "maps":
        return Response(maps_archive(result), media_type="application/zip")
    if format == "labels":
        return _png(result.labels)
    if format == "overlay":
        if result.mask is None and style in DECISION_STYLES:
            raise HTTPException(409, f"style={style} needs a threshold: give ?threshold=NUMBER")
        return _png(result.overlay(style))
    if result.mask is None:
        raise HTTPException(409, "a mask needs a threshold: give ?threshold=NUMBER")
    return _png(result.mask * np.uint8(255))


def maps_archive(result: AnomalyResult) -> bytes:
    """Everything from which a client can decide and draw, as the content of a `.npz` file.

    `numpy.load` reads it: `scores` float32 and `labels`, `(H, W)`; `mask` uint8, 1 where flagged,
    with a threshold only; `region` uint8, 1 inside, with a region of interest only; `result.json`,
    bytes: `AnomalyResult.to_dict`. Not compressed, so that a page needs no library to read it.
    """
    maps = {"scores": result.anomaly, "labels": result.labels}
    if result.mask is not None:
        maps["mask"] = result.mask
    if result.region is not None:
        maps["region"] = result.region.astype(np.uint8)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for name, values in maps.items():
            archive.writestr(f"{name}.npy", npy_bytes(values))
        archive.writestr("result.json", json.dumps(result.to_dict(), allow_nan=False))
    return content.getvalue()


def _png(image: np.ndarray) -> Response:
    return Response(png_bytes(image), media_type="image/png")
