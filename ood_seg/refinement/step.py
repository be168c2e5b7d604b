"""What all refinements share: parameters as a record, sources of evidence, checks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ood_seg.refinement.evidence import Evidence
from ood_seg.refinement.image_models import ImageModel


@dataclass(frozen=True)
class Step(ABC):
    """One refinement with its parameters.

    Attributes:
        kind: name of the refinement.
    """

    kind: ClassVar[str]

    @property
    def needs(self) -> tuple[str, ...]:
        """Which of `image` and `labels` it cannot do without."""
        return ()

    @abstractmethod
    def __call__(self, scores: np.ndarray, evidence: Evidence) -> np.ndarray:
        """Refined scores `(H, W)` float32; a ValueError if the evidence does not fit."""

    @property
    def needs_name(self) -> bool:
        """Whether the evidence of an image is found by its name."""
        return False

    def open(self) -> None:  # noqa: B027  most steps have nothing to open
        """Open the source, so that a wrong one is found before the first image."""

    def label(self) -> str:
        """Name and the parameters that are not the default, without the source."""
        changed = [
            f"{one.name}={_text(getattr(self, one.name))}"
            for one in fields(self)
            if one.name != "source" and getattr(self, one.name) != one.default
        ]
        return self.kind + (f"({','.join(changed)})" if changed else "")

    def record(self) -> dict[str, Any]:
        """All parameters as JSON values."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {"type": self.kind, **{k: _plain(value) for k, value in values.items()}}

    def _number(self, name: str, low: float, high: float = math.inf) -> None:
        """Check that a parameter is a finite number of a range."""
        value = getattr(self, name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not low <= value <= high:
            upper = "" if math.isinf(high) else f" to {high:g}"
            raise self._wrong(name, f"a number from {low:g}{upper}")

    def _numbers(self, name: str, check: Callable[[Any], bool], expected: str) -> None:
        """Check a list of numbers, and keep it as a tuple; a single number is a list of one."""
        value = getattr(self, name)
        values = tuple(value) if isinstance(value, (list, tuple)) else (value,)
        finite = all(type(one) in (int, float) and math.isfinite(one) for one in values)
        if not finite or not all(map(check, values)):
            raise self._wrong(name, expected)
        object.__setattr__(self, name, values)

    def _wrong(self, name: str, expected: str) -> ValueError:
        return ValueError(f"{self.kind}: {name}: expected {expected}, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class SourceStep(Step):
    """A step whose evidence may come from files."""

    source: str | None = None

    @property
    def needs_name(self) -> bool:
        return self.source is not None

    def open(self) -> None:
        if self.source is not None:
            self._opened  # noqa: B018  computed on first use

    @cached_property
    def _opened(self) -> Callable[[Evidence, tuple[int, int]], Any]:
        return self._open(Path(str(self.source)).expanduser())

    @abstractmethod
    def _open(self, path: Path) -> Callable[[Evidence, tuple[int, int]], Any]:
        """What gives the evidence of an image of a size."""

    def _evidence(self, given: Any, evidence: Evidence, size: tuple[int, int]) -> Any:
        """What the source gives, or else what was given."""
        if self.source is not None:
            return self._opened(evidence, size)
        if given is None:
            raise ValueError(
                f"{self.kind}: no source is named, such as {self.kind}=PATH, and the evidence of "
                f"{evidence.name or 'the image'} has none"
            )
        return given


@dataclass(frozen=True)
class ModelOrFolderStep(SourceStep):
    """A step whose source is a folder, or an ONNX model of the image.

    Attributes:
        mean, std: of the input of the model, see `ImageModel`.
        side: of an input that the model leaves open.
    """

    mean: Any = (128.0,)
    std: Any = (256.0,)
    side: int = 1024

    def __post_init__(self) -> None:
        self._numbers("mean", lambda one: True, "one number or three")
        self._numbers("std", lambda one: one > 0, "one number or three above 0")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, 3):
                raise self._wrong(name, "one number or three")
        if type(self.side) is not int or not 16 <= self.side <= 8192:
            raise self._wrong("side", "an integer from 16 to 8192")

    @property
    def needs(self) -> tuple[str, ...]:
        return ("image",) if self._has_model else ()

    @property
    def needs_name(self) -> bool:
        return super().needs_name and not self._has_model

    @property
    def _has_model(self) -> bool:
        return self.source is not None and self.source.lower().endswith(".onnx")

    def _model(self, path: Path) -> ImageModel:
        return ImageModel(path, mean=self.mean, std=self.std, side=self.side, what=self.kind)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _text(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "+".join(map(_text, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
