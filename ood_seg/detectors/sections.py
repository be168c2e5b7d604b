"""What a section of a statistics file must hold, and its one check.

A fitted score declares its tensors, and the options of the fit that it reads:

    entries = {"means_*": real("C", "D*"), "counts_*": counts("C")}
    read_options = {"layers": "names"}

A name that ends in `*` stands for one tensor for each of the option `layers`, numbered from 0;
an axis that ends in `*` has a size of its own in each layer. Other axes of one name are of one
size throughout the section. `L` is the number of layers, `C` that of the model's classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ood_seg.detectors.statistics import Statistics
from ood_seg.io.fields import Fields

Presence = Literal["always", "optional", "with several layers", "together"]
OptionKind = Literal["name", "names", "count"]


@dataclass(frozen=True)
class Entry:
    """A tensor of a section.

    Attributes:
        axes: name or size of each axis; none for a single number.
        dtype: of the values, which are finite.
        low, high: smallest and largest value.
        above: whether values must be above `low`.
        ascending: whether values never fall.
        present: `always`, `optional`, `with several layers` only, or all that are `together` or
            none.
    """

    axes: tuple[str | int, ...]
    dtype: torch.dtype = torch.float32
    low: float | None = None
    high: float | None = None
    above: bool = False
    ascending: bool = False
    present: Presence = "always"

    def problem(self, value: Tensor, sizes: dict[str, int]) -> str:
        """What is wrong with a tensor; empty if nothing is.

        Args:
            value: the tensor.
            sizes: of the axes so far, by name; those of `value` are added.
        """
        if value.dtype != self.dtype or value.layout != torch.strided:
            return f"must be {self.dtype}, {torch.strided}; got {value.dtype}, {value.layout}"
        shape = tuple(value.shape)
        wanted = []
        for axis, size in zip(self.axes, shape, strict=False):
            wanted.append(sizes.setdefault(axis, size) if isinstance(axis, str) else axis)
        if len(shape) != len(self.axes) or list(shape) != wanted or 0 in shape:
            named = ", ".join(
                f"{axis}={sizes[axis]}" if axis in sizes else str(axis) for axis in self.axes
            )
            return f"must have the shape ({named}), got {shape}"
        return self._problem_of_values(value)

    def _problem_of_values(self, value: Tensor) -> str:
        if not value.isfinite().all():
            return f"must be finite, got {value[~value.isfinite()][0]:g}"
        if self.low is not None and value.min() < self.low:
            return f"must be at least {self.low:g}, got {value.min():g}"
        if self.above and value.min() == self.low:
            return f"must be above {self.low:g}"
        if self.high is not None and value.max() > self.high:
            return f"must be at most {self.high:g}, got {value.max():g}"
        if self.dtype == torch.int64 and not value.any():
            return "must not be 0 everywhere"
        return "must never fall" if self.ascending and (value.diff() < 0).any() else ""


def real(
    *axes: str | int,
    low: float | None = None,
    high: float | None = None,
    above: bool = False,
    ascending: bool = False,
    present: Presence = "always",
) -> Entry:
    """An entry of finite float32 values."""
    return Entry(axes, torch.float32, low, high, above, ascending, present)


def counts(*axes: str | int, present: Presence = "always") -> Entry:
    """An entry of int64 pixel counts from 0, not all 0."""
    return Entry(axes, torch.int64, low=0, present=present)


def check_section(
    section: Statistics,
    entries: Mapping[str, Entry] | None,
    options: Mapping[str, OptionKind],
    *,
    origin: str,
    num_classes: int | None = None,
) -> None:
    """Raise unless tensors and options of a section are those that a score declares.

    Args:
        section: of the file.
        entries: tensors by name; None: any real, finite ones.
        options: kinds of the options that the score reads, by name.
        origin: the file, for the message.
        num_classes: C; None: any.

    Raises:
        ValueError: an option or tensor is missing, not declared, or not as declared; names it.
    """
    try:
        for name, kind in options.items():
            _check_option(Fields(section.options, "options"), name, kind)
        layers = len(section.options["layers"]) if "layers" in options else 1
        declared = dict(_expanded(entries or {}, layers, set(section.tensors)))
        sizes = {"L": layers} if num_classes is None else {"L": layers, "C": num_classes}
        for name in sorted({*section.tensors, *declared}):
            if name not in section.tensors:
                problem = "is missing"
            elif entries is None:
                problem = _problem_of_any(section.tensors[name])
            elif name not in declared:
                problem = f"is not one of {', '.join(declared)}"
            else:
                problem = declared[name].problem(section.tensors[name], sizes)
            if problem:
                raise ValueError(f"{name!r} {problem}")
    except ValueError as error:
        raise ValueError(
            f"{origin}: section {section.method!r}: {error}; `ood-seg fit` writes a new one"
        ) from error


def _expanded(
    entries: Mapping[str, Entry], layers: int, given: set[str]
) -> Iterator[tuple[str, Entry]]:
    """The tensors that a section must have: each of those by layer for every layer."""
    together = any(name in given for name, one in entries.items() if one.present == "together")
    for name, entry in entries.items():
        wanted = {
            "always": True,
            "optional": name in given,
            "with several layers": layers > 1,
            "together": together,
        }
        if not wanted[entry.present]:
            continue
        if not name.endswith("*"):
            yield name, entry
            continue
        for layer in range(layers):
            axes = (a.replace("*", str(layer)) if isinstance(a, str) else a for a in entry.axes)
            yield name.replace("*", str(layer)), replace(entry, axes=tuple(axes))


def _problem_of_any(value: Tensor) -> str:
    if value.layout != torch.strided or value.is_complex() or value.is_quantized:
        return f"must be a tensor of real numbers, got {value.dtype}, {value.layout}"
    return "" if value.isfinite().all() else "must be finite"


def _check_option(fields: Fields, name: str, kind: OptionKind) -> None:
    if kind == "count":
        fields.count(name, least=1)
    elif kind == "name":
        if not fields.text(name):
            raise fields.wrong(name, "the name of a layer")
    elif not fields.texts(name) or len(set(fields.texts(name))) < len(fields.texts(name)):
        raise fields.wrong(name, "a list of distinct names of layers")
