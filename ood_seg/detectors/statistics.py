"""Statistics file of the fitted scores, loaded safely and checked against the model.

The file holds tensors and one JSON text and is loaded with `weights_only=True`. It has a section
for each fitted method, so that one pass over the data serves all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ood_seg import __version__
from ood_seg.checkpoints import load_checkpoint, save_checkpoint
from ood_seg.io.fields import Fields, shown
from ood_seg.io.json_files import parse_json

SCHEMA = "ood_seg.statistics/1"


@dataclass(frozen=True, eq=False)
class Statistics:
    """Statistics of one method.

    Attributes:
        method: name of the method, such as `mahalanobis`.
        tensors: by name; documented in `result` of the method's fitter.
        options: options of the fit (layers, number of components, ...), JSON values.
    """

    method: str
    tensors: dict[str, Tensor]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StatisticsFile:
    """Statistics of one model for any number of methods.

    Attributes:
        methods: `Statistics` by method.
        fingerprint: `Network.fingerprint()` of the model; None: not checked.
        classes: names of the model's classes.
        facts: provenance of the fit: model, data, images, pixels per class, seed.
    """

    methods: Mapping[str, Statistics]
    fingerprint: str | None = None
    classes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def section(self, method: str, *, origin: str = "the statistics") -> Statistics:
        """The statistics of a method.

        Args:
            method: its name.
            origin: name of the file, for the message.

        Raises:
            ValueError: there are none; the message lists those that exist.
        """
        if method not in self.methods:
            known = ", ".join(self.methods) or "none"
            raise ValueError(
                f"{origin}: no statistics of {method!r}, only of {known}; "
                f"`ood-seg fit CONFIG CHECKPOINT --methods {method}` writes them"
            )
        return self.methods[method]

    def check_model(self, fingerprint: str, *, origin: str = "the statistics") -> None:
        """Raise `ValueError` unless the statistics belong to the model of that fingerprint."""
        if self.fingerprint is not None and self.fingerprint != fingerprint:
            model = self.facts.get("model", "another model")
            raise ValueError(
                f"{origin} were fitted with other weights ({model}, {self.fingerprint[:12]}...) "
                f"than those in use ({fingerprint[:12]}...); run `ood-seg fit` with this checkpoint"
            )

    def save(self, path: str | Path) -> None:
        """Write the file, atomically."""
        described = {
            "schema": SCHEMA,
            "version": __version__,
            "fingerprint": self.fingerprint,
            "classes": list(self.classes),
            "facts": dict(self.facts),
            "options": {name: section.options for name, section in self.methods.items()},
        }
        tensors = {
            f"{name}/{key}": value.detach().cpu().contiguous()
            for name, section in self.methods.items()
            for key, value in section.tensors.items()
        }
        text = json.dumps(described, allow_nan=False)
        save_checkpoint(path, {"description": text, "tensors": tensors})

    @classmethod
    def load(cls, path: str | Path) -> StatisticsFile:
        """Read a file of `save`.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged, unsafe, or of another kind; names the entry.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"statistics {path} do not exist; `ood-seg fit` writes them")
        content = load_checkpoint(path)
        try:
            return cls(*_parts(content))
        except ValueError as error:
            raise ValueError(
                f"{path} is not a statistics file of `ood-seg fit`, schema {SCHEMA!r}: {error}"
            ) from error


def _parts(content: Mapping[str, Any]) -> tuple[Any, ...]:
    """Methods, fingerprint, classes and facts in the content of a file."""
    text, tensors = content.get("description"), content.get("tensors")
    if not isinstance(text, str):
        raise ValueError(f"'description' must be a text, got {shown(text)}")
    fields = Fields(parse_json(text, "'description'"), "'description'")
    if fields.value("schema") != SCHEMA:
        raise fields.wrong("schema", repr(SCHEMA))
    options = fields.object("options")
    methods = {name: Statistics(name, {}, options.object(name).content) for name in options.content}
    if not isinstance(tensors, dict):
        raise ValueError(f"'tensors' must be tensors by name, got {shown(tensors)}")
    for place, value in tensors.items():
        method, _, name = str(place).partition("/")
        if method not in methods or not name.isidentifier():
            raise ValueError(f"'tensors': {shown(place)} is of no section ({', '.join(methods)})")
        if not isinstance(value, Tensor):
            raise ValueError(f"'tensors': {place!r} must be a tensor, got {shown(value)}")
        methods[method].tensors[name] = value.detach()
    fingerprint = fields.text("fingerprint", optional=True)
    return methods, fingerprint, fields.texts("classes"), fields.object("facts").content
