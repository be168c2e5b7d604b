"""The JSON file of a calibration: written atomically, read with a check of every field."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_seg import __version__
from ood_seg.calibration.curves import METHODS, IsotonicCurve, LogisticCurve, PixelCounts
from ood_seg.calibration.operating_points import OperatingPoint
from ood_seg.calibration.reliability import Reliability
from ood_seg.io.curve_fields import curve_parameters
from ood_seg.io.fields import Fields, shown
from ood_seg.io.files import write_text
from ood_seg.io.json_files import read_json

if TYPE_CHECKING:
    from ood_seg.calibration.calibration import Calibration

SCHEMA = "ood_seg.calibration/1"
# Null where there is no curve, as of known pixels alone.
_OF_THE_CURVE = ("parameters", "assumed_prior", "ece_before", "ece_after", "reliability")


def write(calibration: Calibration, path: Path) -> None:
    """Write the file atomically.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(to_content(calibration), indent=1, allow_nan=False) + "\n"
    write_text(path, text)


def to_content(calibration: Calibration) -> dict[str, Any]:
    """Content of the file."""
    curve, diagram = calibration.curve, calibration.diagram
    return {
        "schema": SCHEMA,
        "version": __version__,
        "score": calibration.score,
        "model": calibration.model,
        "checkpoint_sha256": calibration.checkpoint_sha256,
        "data_set": calibration.data_set,
        "num_images": calibration.num_images,
        "pixels": calibration.pixels._asdict(),
        "seed": calibration.seed,
        "method": calibration.method,
        "parameters": None if curve is None else asdict(curve),
        "assumed_prior": calibration.assumed_prior,
        "score_range": list(calibration.score_range),
        "ece_before": calibration.ece_before,
        "ece_after": calibration.ece_after,
        "ece_held_out": calibration.ece_held_out,
        "reliability": None if diagram is None else _lists(diagram),
        "min_area": calibration.min_area,
        "operating_points": [_point(one) for one in calibration.operating_points.values()],
        "commit": calibration.commit,
        "setup": calibration.setup,
    }


def _lists(diagram: Reliability) -> dict[str, list[float]]:
    return {name: values.tolist() for name, values in diagram._asdict().items()}


def _point(point: OperatingPoint) -> dict[str, Any]:
    return {**asdict(point), "tpr": None if math.isnan(point.tpr) else point.tpr}


def read(path: Path) -> dict[str, Any]:
    """Read a file that `write` wrote, as arguments of `Calibration`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no JSON, has another schema, or a field is missing or wrong; the message
            names the file and the field.
    """
    if not path.is_file():
        raise FileNotFoundError(f"calibration {path} does not exist; `ood-seg calibrate` makes one")
    content = read_json(path)
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"{path}: expected the schema {SCHEMA!r}, got {shown(schema)}")
    return _arguments(Fields(content, str(path)))


def _arguments(fields: Fields) -> dict[str, Any]:
    fitted = fields.value("method") is not None
    method = fields.choice("method", METHODS) if fitted else None
    for name in () if fitted else _OF_THE_CURVE:
        if fields.value(name) is not None:
            raise fields.wrong(name, "null, as 'method' is")
    pixels = fields.object("pixels")
    score_range = fields.numbers("score_range")
    if len(score_range) != 2 or not score_range[0] <= score_range[1]:
        raise fields.wrong("score_range", "two ascending numbers")
    return dict(
        method=method,
        curve=_curve(fields, isotonic=method == "isotonic") if fitted else None,
        score=fields.text("score"),
        data_set=fields.text("data_set"),
        num_images=fields.count("num_images", least=1),
        pixels=PixelCounts(*(pixels.count(name) for name in PixelCounts._fields)),
        assumed_prior=fields.number("assumed_prior", 0, 1, optional=not fitted),
        score_range=score_range,
        ece_before=fields.number("ece_before", 0, 1, optional=not fitted),
        ece_after=fields.number("ece_after", 0, 1, optional=not fitted),
        ece_held_out=fields.flag("ece_held_out"),
        diagram=_diagram(fields) if fitted else None,
        operating_points=_points(fields, anomalies=pixels.count("anomalous") > 0),
        min_area=fields.count("min_area", optional=True),
        seed=fields.count("seed"),
        model=fields.text("model", optional=True),
        checkpoint_sha256=fields.text("checkpoint_sha256", optional=True),
        **_later_fields(fields),
    )


def _later_fields(fields: Fields) -> dict[str, Any]:
    """What files of earlier versions do not hold."""
    content = fields.content
    setup = None if content.get("setup") is None else fields.object("setup").content
    commit = fields.text("commit", optional=True) if "commit" in content else None
    return {"commit": commit, "setup": setup}


def _curve(fields: Fields, *, isotonic: bool) -> LogisticCurve | IsotonicCurve:
    parameters = curve_parameters(fields.object("parameters"), isotonic=isotonic)
    return IsotonicCurve(**parameters) if isotonic else LogisticCurve(**parameters)


def _diagram(fields: Fields) -> Reliability:
    diagram = fields.object("reliability")
    parts = [np.array(diagram.numbers(name, 0, 1)) for name in Reliability._fields]
    if len({part.size for part in parts}) > 1:
        raise fields.wrong("reliability", "three lists of one length")
    return Reliability(*parts)


def _points(fields: Fields, *, anomalies: bool) -> dict[str, OperatingPoint]:
    listed = fields.value("operating_points")
    if not isinstance(listed, list):
        raise fields.wrong("operating_points", "a list")
    points = {}
    for index, content in enumerate(listed):
        point = Fields(content, f"{fields.where}: operating_points[{index}]")
        name = point.text("name")
        if name in points:
            raise point.wrong("name", "given once")
        tpr = point.number("tpr", 0, 1, optional=not anomalies)
        points[name] = OperatingPoint(
            name=name,
            threshold=point.number("threshold"),
            tpr=math.nan if tpr is None else tpr,
            fpr=point.number("fpr", 0, 1),
            false_alarms_per_image=point.number("false_alarms_per_image", 0, optional=True),
            guarantee=point.text("guarantee", optional=True),
        )
    return points
