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
from ood_seg.io.files import write_text
from ood_seg.io.json_files import is_number

if TYPE_CHECKING:
    from ood_seg.calibration.calibration import Calibration

SCHEMA = "ood_seg.calibration/1"


def write(calibration: Calibration, path: Path) -> None:
    """Write the file atomically.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(to_content(calibration), indent=1, allow_nan=False) + "\n"
    write_text(path, text)


def to_content(calibration: Calibration) -> dict[str, Any]:
    """Content of the file."""
    diagram = calibration.diagram._asdict()
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
        "parameters": asdict(calibration.curve),
        "assumed_prior": calibration.assumed_prior,
        "score_range": list(calibration.score_range),
        "ece_before": calibration.ece_before,
        "ece_after": calibration.ece_after,
        "ece_held_out": calibration.ece_held_out,
        "reliability": {name: values.tolist() for name, values in diagram.items()},
        "min_area": calibration.min_area,
        "operating_points": [asdict(point) for point in calibration.operating_points.values()],
    }


def read(path: Path) -> dict[str, Any]:
    """Read a file that `write` wrote, as arguments of `Calibration`.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no JSON, has another schema, or a field is missing or wrong; the message
            names the file and the field.
    """
    if not path.is_file():
        raise FileNotFoundError(f"calibration {path} does not exist; `ood-seg calibrate` makes one")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not a JSON file: {error}") from error
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"{path}: expected the schema {SCHEMA!r}, got {schema!r}")
    return _arguments(_Fields(content, str(path)))


class _Fields:
    """Reads checked values from an object of the file; errors name their place."""

    def __init__(self, content: Any, where: str) -> None:
        self.where = where
        if not isinstance(content, dict):
            raise ValueError(f"{where}: expected an object, got {content!r}")
        self.content = content

    def wrong(self, name: str, expected: str) -> ValueError:
        value = repr(self.content[name])
        value = value if len(value) < 60 else f"{value[:60]}..."
        return ValueError(f"{self.where}: {name!r} must be {expected}, got {value}")

    def value(self, name: str) -> Any:
        if name not in self.content:
            raise ValueError(f"{self.where}: the field {name!r} is missing")
        return self.content[name]

    def text(self, name: str, *, optional: bool = False) -> Any:
        value = self.value(name)
        if isinstance(value, str) or (optional and value is None):
            return value
        raise self.wrong(name, "a text or null" if optional else "a text")

    def count(self, name: str, *, least: int = 0, optional: bool = False) -> Any:
        value = self.value(name)
        if (type(value) is int and value >= least) or (optional and value is None):
            return value
        raise self.wrong(name, f"an integer from {least}")

    def number(
        self, name: str, low: float = -math.inf, high: float = math.inf, *, optional: bool = False
    ) -> Any:
        value = self.value(name)
        if optional and value is None:
            return None
        if is_number(value) and low <= value <= high:
            return float(value)
        raise self.wrong(name, "a finite number" + _range(low, high))

    def numbers(
        self, name: str, low: float = -math.inf, high: float = math.inf
    ) -> tuple[float, ...]:
        value = self.value(name)
        if isinstance(value, list) and all(is_number(x) and low <= x <= high for x in value):
            return tuple(map(float, value))
        raise self.wrong(name, "a list of finite numbers" + _range(low, high))

    def flag(self, name: str) -> bool:
        if not isinstance(self.value(name), bool):
            raise self.wrong(name, "true or false")
        return self.content[name]

    def object(self, name: str) -> _Fields:
        return _Fields(self.value(name), f"{self.where}: {name}")


def _arguments(fields: _Fields) -> dict[str, Any]:
    method = fields.text("method")
    if method not in METHODS:
        raise fields.wrong("method", f"one of {', '.join(METHODS)}")
    pixels = fields.object("pixels")
    score_range = fields.numbers("score_range")
    if len(score_range) != 2 or not score_range[0] <= score_range[1]:
        raise fields.wrong("score_range", "two ascending numbers")
    return dict(
        method=method,
        curve=_curve(fields.object("parameters"), isotonic=method == "isotonic"),
        score=fields.text("score"),
        data_set=fields.text("data_set"),
        num_images=fields.count("num_images", least=1),
        pixels=PixelCounts(*(pixels.count(name) for name in PixelCounts._fields)),
        assumed_prior=fields.number("assumed_prior", 0, 1),
        score_range=score_range,
        ece_before=fields.number("ece_before", 0, 1),
        ece_after=fields.number("ece_after", 0, 1),
        ece_held_out=fields.flag("ece_held_out"),
        diagram=_diagram(fields),
        operating_points=_points(fields),
        min_area=fields.count("min_area", optional=True),
        seed=fields.count("seed"),
        model=fields.text("model", optional=True),
        checkpoint_sha256=fields.text("checkpoint_sha256", optional=True),
    )


def _curve(fields: _Fields, *, isotonic: bool) -> LogisticCurve | IsotonicCurve:
    if not isotonic:
        slope = fields.number("slope")
        if not slope > 0:
            raise fields.wrong("slope", "above 0, as probabilities rise with the score")
        return LogisticCurve(slope, fields.number("offset"))
    scores, probabilities = fields.numbers("scores"), fields.numbers("probabilities", 0, 1)
    if len(scores) < 1 or len(scores) != len(probabilities):
        raise fields.wrong("scores", f"as long as the {len(probabilities)} probabilities")
    if not (np.diff(scores) > 0).all():
        raise fields.wrong("scores", "strictly ascending")
    if not (np.diff(probabilities) >= 0).all():
        raise fields.wrong("probabilities", "never falling")
    return IsotonicCurve(scores, probabilities)


def _diagram(fields: _Fields) -> Reliability:
    diagram = fields.object("reliability")
    parts = [np.array(diagram.numbers(name, 0, 1)) for name in Reliability._fields]
    if len({part.size for part in parts}) > 1:
        raise fields.wrong("reliability", "three lists of one length")
    return Reliability(*parts)


def _points(fields: _Fields) -> dict[str, OperatingPoint]:
    listed = fields.value("operating_points")
    if not isinstance(listed, list):
        raise fields.wrong("operating_points", "a list")
    points = {}
    for index, content in enumerate(listed):
        point = _Fields(content, f"{fields.where}: operating_points[{index}]")
        name = point.text("name")
        if name in points:
            raise point.wrong("name", "given once")
        points[name] = OperatingPoint(
            name=name,
            threshold=point.number("threshold"),
            tpr=point.number("tpr", 0, 1),
            fpr=point.number("fpr", 0, 1),
            false_alarms_per_image=point.number("false_alarms_per_image", 0, optional=True),
            guarantee=point.text("guarantee", optional=True),
        )
    return points


def _range(low: float, high: float) -> str:
    if math.isinf(low):
        return ""
    return f" from {low:g}" + ("" if math.isinf(high) else f" to {high:g}")
