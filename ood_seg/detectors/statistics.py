"""Statistics of known data that fitted scores need: one safe file, checked against the model.

The file holds tensors and one JSON text, and is loaded with `weights_only=True`. It holds a
section for each fitted method, so that one pass over the data serves all of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ood_seg import __version__
from ood_seg.checkpoints import load_checkpoint
from ood_seg.io.files import atomic_path

SCHEMA = "ood_seg.statistics/1"


@dataclass(frozen=True, eq=False)
class Statistics:
    """What one method keeps of the known data.

    Attributes:
        method: name of the method, such as `mahalanobis`.
        tensors: by name; their meaning is the method's.
        options: what the fit was made with (layers, number of components, ...), JSON values.
    """

    method: str
    tensors: dict[str, Tensor]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class StatisticsFile:
    """The statistics of one model, of any number of methods.

    Attributes:
        methods: `Statistics` by method.
        fingerprint: `Network.fingerprint()` of the model; None for statistics made by hand.
        classes: names of its classes.
        facts: what else is told about the fit: model, data, images, pixels per class, seed.
    """

    methods: Mapping[str, Statistics]
    fingerprint: str | None = None
    classes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def section(self, method: str, *, origin: str = "the statistics") -> Statistics:
        """The statistics of a method.

        Raises:
            ValueError: the file has none; those that it has are listed.
        """
        if method not in self.methods:
            known = ", ".join(self.methods) or "none"
            raise ValueError(
                f"{origin} hold no statistics of {method!r}, only of {known}; "
                f"`ood-seg fit CONFIG CHECKPOINT --methods {method}` makes them"
            )
        return self.methods[method]

    def check_model(self, fingerprint: str, *, origin: str = "the statistics") -> None:
        """Raise unless they were made with the model of that fingerprint.

        Raises:
            ValueError: they belong to another model or other weights.
        """
        if self.fingerprint is not None and self.fingerprint != fingerprint:
            model = self.facts.get("model", "another model")
            raise ValueError(
                f"{origin} were made with other weights ({model}, {self.fingerprint[:12]}...) than "
                f"those in use ({fingerprint[:12]}...); run `ood-seg fit` with this checkpoint"
            )

    def save(self, path: str | Path) -> None:
        """Write the file; it appears complete or not at all."""
        path = Path(path)
        described = {
            "schema": SCHEMA,
            "version": __version__,
            "fingerprint": self.fingerprint,
            "classes": list(self.classes),
            "facts": dict(self.facts),
            "options": {name: one.options for name, one in self.methods.items()},
        }
        tensors = {
            f"{name}/{key}": value.detach().cpu().contiguous()
            for name, one in self.methods.items()
            for key, value in one.tensors.items()
        }
        text = json.dumps(described, allow_nan=False)
        # Of a path, torch would store the name, which is another one each time.
        with atomic_path(path) as unfinished, unfinished.open("wb") as file:
            torch.save({"description": text, "tensors": tensors}, file)

    @classmethod
    def load(cls, path: str | Path) -> StatisticsFile:
        """Read a file that `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: damaged, unsafe, or another kind of file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"statistics {path} do not exist; `ood-seg fit` makes them")
        content = load_checkpoint(path)
        try:
            described = json.loads(content["description"])
            if described["schema"] != SCHEMA:
                raise ValueError(f"schema {described['schema']!r}")
            tensors = content["tensors"]
            methods = {
                name: Statistics(name, _section(tensors, name), options)
                for name, options in described["options"].items()
            }
            facts = described["fingerprint"], tuple(described["classes"]), described["facts"]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{path} is no statistics file of `ood-seg fit` (expected the schema {SCHEMA!r}; "
                f"{type(error).__name__}: {error})"
            ) from error
        return cls(methods, *facts)


def _section(tensors: Mapping[str, Tensor], method: str) -> dict[str, Tensor]:
    prefix = f"{method}/"
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }
