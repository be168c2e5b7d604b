"""The head of a report: how the numbers were computed, and what makes them doubtful."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ood_seg.metrics.formatting import number, percent
from ood_seg.reports.evaluations import Evaluations, level, unit

_MODES = {
    "exact": "exact: every {unit} is ranked by its own score",
    "streaming": "streaming: scores are ranked in fine bins; the exact values lie within the "
    "given bounds",
}


def title(evaluations: Evaluations) -> str:
    """The headline of the report: dataset and methods."""
    dataset = next(iter(evaluations.values()))["data_set"]
    return f"{dataset}: {' · '.join(evaluations)}"


def facts(evaluations: Evaluations) -> list[tuple[str, str]]:
    """Terms and texts; where methods differ, the text has one part for each, with its label."""
    terms: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "dataset": lambda one: one["data_set"],
        "images": lambda one: number(one["num_images"]),
        f"{unit(evaluations)}s": _pixels,
        "protocol": lambda one: f"{one['protocol']['name']}: {one['protocol']['description']}",
        "computation": lambda one: _MODES.get(one["mode"], one["mode"]).format(
            unit=unit(evaluations)
        ),
        "intervals": _intervals,
        "seed": lambda one: str(one["seed"]),
        "version": lambda one: f"ood_seg {one['version']}, commit {one['commit'] or 'unknown'}",
        "created": lambda one: one["created"],
    }
    found = [("method", ", ".join(evaluations))]
    for term, text_of in terms.items():
        texts = {label: text_of(one) for label, one in evaluations.items()}
        if len(set(texts.values())) == 1:
            found.append((term, next(iter(texts.values()))))
        else:
            found.append((term, "; ".join(f"{label}: {text}" for label, text in texts.items())))
    return found


def _pixels(evaluation: Mapping[str, Any]) -> str:
    pixels = evaluation["pixels"]
    valid = pixels["known"] + pixels["anomalous"]
    share = f" ({percent(pixels['anomalous'] / valid)} %)" if valid else ""
    return (
        f"{number(pixels['known'])} known, {number(pixels['anomalous'])} anomalous{share}, "
        f"{number(pixels['ignored'])} ignored"
    )


def _intervals(evaluation: Mapping[str, Any]) -> str:
    interval = evaluation.get("interval")
    if not interval:
        return "none"
    return (
        f"{level(evaluation)} bootstrap over {interval['unit']}, {number(interval['samples'])} "
        "resamples"
    )


def notices(evaluations: Evaluations) -> list[str]:
    """Sentences on what makes the numbers doubtful, or methods incomparable."""
    noted: dict[str, list[str]] = {}
    for label, evaluation in evaluations.items():
        for note in evaluation.get("notes") or []:
            noted.setdefault(note, []).append(label)
    several = len(evaluations) > 1
    found = [f"{', '.join(who)}: {note}" if several else note for note, who in noted.items()]
    return found + _differences(evaluations)


def _differences(evaluations: Evaluations) -> list[str]:
    """What makes methods incomparable."""
    found = []
    for what, of in (
        ("pixels", lambda one: tuple(one["pixels"].values())),
        ("images", lambda one: sorted(image["name"] for image in one.get("images") or [])),
        ("protocols", lambda one: one["protocol"]["name"]),
    ):
        first, *others = [of(one) for one in evaluations.values()]
        if any(other != first for other in others):
            found.append(f"The methods were not evaluated on the same {what}; do not compare them.")
    return found
