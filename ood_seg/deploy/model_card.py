"""Facts about an exported model: the `metadata_props` of the ONNX file.

Every value is JSON, so that programs in other languages can read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from ood_seg.io.curve_fields import curve_parameters
from ood_seg.io.fields import Fields

SCHEMA_NAME = "ood_seg.onnx"
SCHEMA_VERSION = 1
LAYOUTS = ("nhwc", "nchw")
COLOURS = ("bgr", "rgb")
INPUT_TYPES = ("uint8", "float32")
SIZE_KINDS = ("own", "fixed", "keep_ratio")
_CHOICES = {
    "layout": LAYOUTS,
    "colour": COLOURS,
    "network_colour": COLOURS,
    "input_type": INPUT_TYPES,
    "precision": ("fp32", "fp16", "int8"),
}


@dataclass(frozen=True)
class ModelCard:
    """Facts about an exported model.

    Attributes:
        classes: name of each known class.
        palette: RGB colour of each.
        score: name of the anomaly score, such as `Energy`.
        thresholds: raw score at each operating point, by name; the first is the default.
        layout: `nhwc` or `nchw`, of the input.
        colour: `bgr` or `rgb`, of the input.
        input_type: `uint8`, or `float32` with integers 0..255.
        size: kind (`own`, `fixed`, `keep_ratio`), height and width of the network input.
        mean, std: per channel in the order `network_colour`; applied in the graph.
        network_colour: `bgr` or `rgb`.
        divisor: height and width are padded to a multiple of it in the graph.
        padded_size: minimum height and width after padding, or None.
        outputs: names of the graph's outputs.
        channels: of `logits`; more than classes if the score needs others.
        precision: `fp32`, `fp16` or `int8`.
        version: of `ood_seg` that exported.
        temperature: of the score; None where it has none.
        smoothing: kernel size and sigma of the Gaussian, or None.
        calibration: method, parameters, dataset and assumed prior of the calibration. With one,
            the output `anomaly` is a probability and `score` the score; with None, `anomaly` is
            the score.
        min_area: smallest false alarm that counted in the calibration, in pixels.
        config, config_sha256, checkpoint, checkpoint_sha256, commit: origin of the model.
    """

    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    score: str
    thresholds: dict[str, float]
    layout: str
    colour: str
    input_type: str
    size: dict[str, Any]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    network_colour: str
    divisor: int
    outputs: tuple[str, ...]
    channels: int
    precision: str
    version: str
    padded_size: tuple[int, int] | None = None
    temperature: float | None = None
    smoothing: dict[str, float] | None = None
    calibration: dict[str, Any] | None = None
    min_area: int | None = None
    config: str | None = None
    config_sha256: str | None = None
    checkpoint: str | None = None
    checkpoint_sha256: str | None = None
    commit: str | None = None

    def to_properties(self) -> dict[str, str]:
        """Return the `metadata_props` of the ONNX file."""
        values = {"schema": f"{SCHEMA_NAME}/{SCHEMA_VERSION}", **asdict(self)}
        return {name: json.dumps(value, allow_nan=False) for name, value in values.items()}

    def probability(self, scores: Any) -> Any:
        """Return calibrated probabilities of scores, of any shape; None without a calibration."""
        import numpy as np

        if self.calibration is None:
            return None
        scores, curve = np.asarray(scores, dtype=np.float64), self.calibration["parameters"]
        if "slope" in curve:
            logits = curve["slope"] * scores + curve["offset"]
            with np.errstate(over="ignore"):
                probabilities = 1 / (1 + np.exp(-logits))
        else:
            # In float32, as in the graph, because some segments are steep.
            knots, values = (np.float32(curve[name]) for name in ("scores", "probabilities"))
            probabilities = np.interp(scores, knots, values)
        return probabilities.astype(np.float32)

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], origin: str) -> ModelCard:
        """Read `metadata_props`.

        Args:
            properties: by name.
            origin: the file, for messages.

        Raises:
            ValueError: they are missing, of another program, of a newer schema, or damaged.
        """
        _check_schema(_value(properties, "schema", origin, missing=None), origin)
        values = {}
        for part in fields(cls):
            if part.name in properties or part.default is MISSING:
                values[part.name] = _value(properties, part.name, origin)
            else:
                values[part.name] = part.default
        try:
            _check(Fields(values, f"{origin}: its metadata are damaged"))
        except ValueError as error:
            raise ValueError(f"{error}; export the model again") from error
        return cls(**{name: _frozen(value) for name, value in values.items()})


def _check(card: Fields) -> None:
    """Raise unless every entry of a card, as read from JSON, is what `ModelCard` documents."""
    if not card.texts("classes"):
        raise card.wrong("classes", "names of classes")
    num_classes = len(card.texts("classes"))
    palette = card.value("palette")
    if not _is_list(palette, num_classes) or not all(map(_is_colour, palette)):
        raise card.wrong("palette", f"{num_classes} lists of three integers from 0 to 255")
    for name in card.object("thresholds").content:
        card.object("thresholds").number(name)
    for name, choices in _CHOICES.items():
        card.choice(name, choices)
    _check_preprocessing(card)
    outputs = set(card.texts("outputs"))
    needed = {"labels", "anomaly", *(["score"] if card.value("calibration") else [])}
    if not needed <= outputs:
        raise card.wrong("outputs", f"a list with {', '.join(sorted(needed))}")
    card.count("channels", least=num_classes)
    card.count("min_area", optional=True)
    card.number("temperature", optional=True)
    for name in ("score", "version"):
        card.text(name)
    for name in ("config", "config_sha256", "checkpoint", "checkpoint_sha256", "commit"):
        card.text(name, optional=True)
    if card.value("smoothing") is not None:
        card.object("smoothing").count("kernel_size", least=1)
        card.object("smoothing").number("sigma", 0)
    if card.value("calibration") is not None:
        parameters = card.object("calibration").object("parameters")
        curve_parameters(parameters, isotonic="slope" not in parameters.content)


def _check_preprocessing(card: Fields) -> None:
    size = card.object("size")
    least = 0 if size.choice("kind", SIZE_KINDS) == "own" else 1
    for name in ("height", "width"):
        size.count(name, least=least)
    mean, std = card.numbers("mean"), card.numbers("std", 0)
    if not mean or len(mean) != len(std):
        raise card.wrong("std", f"as long as the {len(mean)} means")
    if not all(std):
        raise card.wrong("std", "above 0")
    card.count("divisor", least=1)
    padded = card.value("padded_size")
    if padded is not None and (len(card.counts("padded_size")) != 2 or 0 in padded):
        raise card.wrong("padded_size", "height and width, or null")


def _is_colour(value: Any) -> bool:
    return _is_list(value, 3) and all(type(level) is int and 0 <= level <= 255 for level in value)


def _check_schema(schema: Any, origin: str) -> None:
    name, _, version = str(schema).partition("/")
    if schema is None or name != SCHEMA_NAME or not version.isdigit():
        raise ValueError(
            f"{origin} was not made by `ood-seg export-onnx`: expected the schema "
            f"'{SCHEMA_NAME}/{SCHEMA_VERSION}' in its metadata, got {schema!r}"
        )
    if int(version) > SCHEMA_VERSION:
        raise ValueError(
            f"{origin} has the schema {schema!r} of a newer ood_seg, but this version reads up to "
            f"'{SCHEMA_NAME}/{SCHEMA_VERSION}'; update ood_seg or export the model again"
        )


def _value(properties: Mapping[str, str], name: str, origin: str, **default: Any) -> Any:
    if name not in properties:
        if "missing" in default:
            return default["missing"]
        raise ValueError(f"{origin}: no {name!r} in its metadata; export the model again")
    try:
        return json.loads(properties[name])
    except (ValueError, TypeError, RecursionError) as error:
        if "missing" in default:  # values of other programs need not be JSON
            return properties[name]
        raise ValueError(
            f"{origin}: its metadata are damaged: {name!r} is not JSON; export the model again"
        ) from error


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _is_list(value: Any, length: int) -> bool:
    return isinstance(value, list) and len(value) == length
