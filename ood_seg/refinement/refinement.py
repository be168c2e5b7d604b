"""`Refinement`: steps in their order, from texts or configs, applied to the map of an image."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from ood_seg.io.fields import shown
from ood_seg.refinement.evidence import Evidence, checked_scores, require_size
from ood_seg.refinement.step import Step
from ood_seg.refinement.steps import STEPS
from ood_seg.spelling import did_you_mean

FORM = "NAME, NAME=SOURCE or either with ,KEY=VALUE"
_REMEDIES = {
    "image": "give it: `evaluate` takes --images DIR, Python Evidence(image=...)",
    "labels": "give predicted labels: `evaluate` takes --predicted-labels DIR, Python "
    "Evidence(labels=...); `benchmark` has those of its model if it computes a score of it",
}


class Refinement:
    """Refinements of a score map, one after the other.

    A refined map is another score: its name is that of the score and of the steps, and thresholds
    of the unrefined score do not hold for it.

    Args:
        steps: in the order in which they are applied.

    Raises:
        ValueError: there is no step.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        if not steps:
            raise ValueError(f"refinement: expected at least one of {', '.join(STEPS)}")
        self.steps = tuple(steps)

    @classmethod
    def of(cls, specifications: Any) -> Refinement:
        """The refinement that a user specified.

        Args:
            specifications: one or a list of: texts such as `segments`, `masks=DIR` or
                `saliency=MODEL.onnx,weight=8,known=11+13`; dicts or JSON texts such as
                `{"type": "segments", "weight": 0.5}`. A `Refinement` is returned as it is.

        Raises:
            ValueError: an unknown name or parameter, or a value out of range; names it.
        """
        if isinstance(specifications, Refinement):
            return specifications
        if isinstance(specifications, (str, Mapping, Step)):
            specifications = [specifications]
        return cls([_step(one) for one in specifications])

    def open(self) -> Refinement:
        """Open all sources, so that a wrong one is found before the first image; returns itself.

        Raises:
            FileNotFoundError: a folder, file or model does not exist.
            ValueError: it is empty or of another kind.
            ImportError: a library is missing.
        """
        for step in self.steps:
            step.open()
        return self

    @property
    def needs(self) -> frozenset[str]:
        """Which of `image` and `labels` the steps cannot do without."""
        return frozenset(what for step in self.steps for what in step.needs)

    def require_no_names(self, where: str) -> None:
        """Raise a ValueError if evidence is found by names of images, which `where` has not."""
        for step in self.steps:
            if step.needs_name:
                raise ValueError(
                    f"refinement {step.kind}: {where} has no names of images by which files of "
                    f"{step.record()['source']} could be found; name an ONNX model, or use segments"
                )

    def score_name(self, score: str) -> str:
        """Name of a refined score: `Energy+segments+saliency(weight=8)`."""
        return "+".join([score, *(step.label() for step in self.steps)])

    def record(self) -> list[dict[str, Any]]:
        """The steps with all parameters as JSON values; `of` reads them."""
        return [step.record() for step in self.steps]

    def __call__(self, scores: np.ndarray, evidence: Evidence) -> np.ndarray:
        """Refine the score map of an image.

        Args:
            scores: `(H, W)`, higher means more anomalous.
            evidence: image, labels and name, as far as the steps need them, at the same size.

        Returns:
            `(H, W)` float32; `scores` is not changed.

        Raises:
            ValueError: scores that are NaN or infinite, evidence that is missing, unreadable or of
                another size; names the image and the step.
        """
        where = f"{evidence.name}: " if evidence.name else ""
        scores = checked_scores(scores, f"{where}scores")
        for what in ("image", "labels"):
            values = getattr(evidence, what)
            if values is not None:
                require_size(values, scores.shape, f"{where}{what}")
                continue
            for step in self.steps:
                if what in step.needs:
                    raise ValueError(
                        f"{where}refinement {step.kind} needs the {what} of the score map; "
                        f"{_REMEDIES[what]}"
                    )
        for step in self.steps:
            try:
                scores = step(scores, evidence)
            except ValueError as error:
                raise ValueError(f"{where}refinement {step.kind}: {error}") from error
        return scores


def _step(specification: Any) -> Step:
    if isinstance(specification, Step):
        return specification
    if isinstance(specification, str):
        specification = _parsed(specification)
    if not isinstance(specification, Mapping) or not isinstance(specification.get("type"), str):
        raise ValueError(
            f'refinement: expected {FORM}, or {{"type": NAME, ...}}, got {shown(specification)}'
        )
    options = dict(specification)
    name = options.pop("type")
    if name not in STEPS:
        raise ValueError(
            f"refinement: {name!r} is not one of {', '.join(STEPS)}{did_you_mean(name, STEPS)}"
        )
    kind = STEPS[name]
    parameters = [one.name for one in fields(kind)]
    for key in options:
        if key not in parameters:
            raise ValueError(
                f"refinement {name}: {key!r} is not one of its parameters "
                f"{', '.join(parameters)}{did_you_mean(key, parameters)}"
            )
    return kind(**options)


def _parsed(text: str) -> Mapping[str, Any]:
    """A text of the command line as a config."""
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"refinement: {text}: not JSON ({error})") from error
    first, *rest = text.split(",")
    name, has_source, source = first.partition("=")
    config: dict[str, Any] = {"type": name.strip()}
    if has_source:
        config["source"] = source
    for part in rest:
        key, mark, value = part.partition("=")
        if not mark or key.strip() in config:
            raise ValueError(
                f"refinement: expected {FORM}, each key once, got {text!r}; a source with a comma "
                'in its name needs JSON: {"type": "masks", "source": "a,b"}'
            )
        config[key.strip()] = _value(value.strip())
    return config


def _value(text: str) -> Any:
    """`none`, a number, numbers joined by `+`, or a text."""
    if text == "none":
        return None
    try:
        numbers = [float(part) if not part.isdigit() else int(part) for part in text.split("+")]
    except ValueError:
        return text
    return numbers[0] if len(numbers) == 1 else tuple(numbers)
