"""Methods on the same images: their folders of score maps evaluated and compared.

folders = MapFolders(Path("maps/energy"), Path("masks"))
evaluate_folders(folders, Settings(method="energy")).content["metrics"]["ap"]["value"]

methods = {"energy": folders, "knn": replace(folders, scores=Path("maps/knn"))}
evaluation = evaluate_methods(methods, Settings())
[one["metrics"]["ap"]["value"] for one in all_contents(evaluation.content)]
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from ood_seg.datasets.listing import shorten
from ood_seg.evaluation.class_files import class_files, labels_by_method
from ood_seg.evaluation.folders import MapFolders, OnImage, counter
from ood_seg.evaluation.matching import Matches, match_images
from ood_seg.evaluation.refined_maps import refined_reader
from ood_seg.evaluation.run import Evaluation, comparison, evaluate_maps
from ood_seg.evaluation.saved_maps import MapReader
from ood_seg.evaluation.settings import Settings
from ood_seg.io.map_origins import MapOrigin
from ood_seg.refinement import Refinement
from ood_seg.spelling import did_you_mean


def evaluate_folders(
    folders: MapFolders,
    settings: Settings,
    *,
    compare: Path | None = None,
    compare_method: str | None = None,
    **options: Any,
) -> Evaluation:
    """Evaluate all score maps of a folder.

    Args:
        folders: maps and ground truth.
        settings: what to compute.
        compare, compare_method: deprecated: folder and name of a second method of
            `evaluate_methods`.
        **options: those of `evaluate_methods`.

    Raises:
        FileNotFoundError, ValueError: as `evaluate_methods`.
    """
    methods = {settings.method: folders}
    if compare is not None:
        warnings.warn(
            "evaluate_folders(compare=...) will be removed in the next version; give both methods "
            "to evaluate_methods",
            DeprecationWarning,
            stacklevel=2,
        )
        name = free_name(compare_method or compare.resolve().name, methods)
        methods[name] = replace(folders, scores=compare)
    return evaluate_methods(methods, settings, **options)


def evaluate_methods(
    methods: Mapping[str, MapFolders],
    settings: Settings,
    *,
    reference: str | None = None,
    partial: Path | None = None,
    images: Path | None = None,
    predicted_labels: Path | Mapping[str, Path] | None = None,
    known_labels: Path | None = None,
    refine: Any = None,
    workers: int = 1,
    on_image: OnImage = lambda done, total: None,
) -> Evaluation:
    """Evaluate several methods on the same images, and compare each of them with one.

    Args:
        methods: maps and ground truth by name of the method, the first one leading.
        settings: what to compute; each method takes its own name instead of `settings.method`.
        reference: method that the others are compared with, by paired bootstrap; None: the first.
        partial: folder of partial results, from which a later run resumes: those of the first
            method, with one folder beside it for each other; None keeps none.
        images: folder of the images, for overlays in the report.
        predicted_labels: folder of predicted training labels (.png), of all methods or by method,
            for the closed set; those of the first method also for a refinement.
        known_labels: folder of the true training labels (.png), for the closed set.
        refine: refinement of the maps of the first method alone, see `refinement.Refinement.of`.
            Its evidence may change, so that no partial results of them are kept.
        workers: threads that read and count.
        on_image: called after each map of each pass with the number so far and in all.

    Returns:
        The evaluation of the first method. Its content holds those of the other methods under
        `others`; `comparisons` stands in the content of the reference. `reused` counts the maps of
        all methods.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: no method, an unknown reference, methods on different images, files without a
            partner, bad files (all of them are named), a scale or label map out of range, or only
            one kind of class labels.
    """
    names = list(methods)
    if not names:
        raise ValueError("there is no method to evaluate")
    reference = names[0] if reference is None else reference
    if reference not in methods:
        raise ValueError(
            f"reference {reference!r} is none of the methods{did_you_mean(reference, names)}; "
            f"there are: {', '.join(names)}"
        )
    predicted = labels_by_method(predicted_labels, names)
    # Predicted labels alone are evidence of the refinement.
    closed_set = {} if refine is not None and known_labels is None else predicted
    matches = _on_common_images({name: one.matches() for name, one in methods.items()}, methods)
    tasks = {
        name: _task(
            folders,
            replace(settings, method=name),
            matches[name],
            images=images,
            predicted=closed_set.get(name),
            known=known_labels if name in closed_set or not closed_set else None,
            refine=refine if name == names[0] else None,
            evidence=predicted.get(name),
            partial=partial if name == names[0] else _beside(partial, name),
        )
        for name, folders in methods.items()
    }
    count = counter(on_image, sum(map(_num_maps, tasks.values())))
    return _evaluated(tasks, reference, {"workers": workers, "on_image": count})


def all_contents(content: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The content of each method in that of an evaluation, the first one's own leading."""
    return [content, *content.get("others", ())]


def free_name(name: str, taken: Mapping[str, object]) -> str:
    """The name, with a number where it is taken."""
    found, times = name, 2
    while found in taken:
        found, times = f"{name} ({times})", times + 1
    return found


class _Task(NamedTuple):
    """One method: arguments of `evaluate_maps`, and what stands in the content beside its own."""

    settings: Settings
    reader: MapReader
    matches: Matches
    options: dict[str, Any]
    origin: MapOrigin | None
    notes: list[str]


def _task(
    folders: MapFolders,
    settings: Settings,
    matches: Matches,
    *,
    images: Path | None,
    predicted: Path | None,
    known: Path | None,
    refine: Any,
    evidence: Path | None,
    partial: Path | None,
) -> _Task:
    """A method whose files are found, and whose options are checked."""
    reader, origin = folders.reader(), folders.origin()
    names = [pair.name for pair in matches.pairs]
    if refine is not None:
        reader = refined_reader(reader, refine, images, evidence, strip=folders.strip)
        origin = _refined_origin(origin, reader.refined_by)
        partial = None
    classes, notes = class_files(folders, names, predicted, known)
    options = {
        "folder": partial,
        "class_files": classes,
        "images": match_images(images, names, strip=folders.strip) if images else None,
    }
    return _Task(settings, reader, matches, options, origin, notes)


def _num_maps(task: _Task) -> int:
    """Maps of all passes over one method."""
    settings = task.settings
    second = bool(settings.calibration or settings.track or task.options["class_files"])
    return (1 + second) * len(task.matches.pairs)


def _evaluated(
    tasks: Mapping[str, _Task], reference: str, reading: Mapping[str, Any]
) -> Evaluation:
    """The reference first; histograms are kept of it and of the first method alone."""
    first, reused = next(iter(tasks)), 0
    kept: dict[str, Evaluation] = {}
    contents: dict[str, dict[str, Any]] = {}
    comparisons: dict[str, dict[str, Any]] = {}
    for name in sorted(tasks, key=lambda name: name != reference):
        task = tasks[name]
        found = evaluate_maps(
            task.matches.pairs, task.reader, task.settings, **task.options, **reading
        )
        reused += found.reused
        contents[name] = found.content
        found.content["origin"] = asdict(task.origin) if task.origin else None
        found.content["notes"] += [*task.matches.notes, *task.notes]
        found.content["created"] = contents[reference]["created"]
        if name != reference:
            comparisons[name] = comparison(kept[reference], found, task.settings)
        if name in (reference, first):
            kept[name] = found
    if comparisons:
        sections = [comparisons[name] for name in tasks if name != reference]
        # The first section alone is what earlier versions wrote.
        contents[reference].update(comparison=sections[0], comparisons=sections)
        contents[first]["others"] = [contents[name] for name in tasks if name != first]
    return replace(kept[first], reused=reused)


def _on_common_images(
    matches: Mapping[str, Matches], methods: Mapping[str, MapFolders]
) -> dict[str, Matches]:
    """The images that all methods have; others are an error unless they may be missing."""
    named = {method: {pair.name for pair in found.pairs} for method, found in matches.items()}
    common = set.intersection(*named.values())
    missing = sorted(set.union(*named.values()) - common)
    if not missing:
        return dict(matches)
    if not common or not all(folders.allow_missing for folders in methods.values()):
        without = {
            method: shorten(sorted(set(missing) - names))
            for method, names in named.items()
            if set(missing) - names
        }
        lacking = "; ".join(f"{method!r} lacks {images}" for method, images in without.items())
        raise ValueError(
            f"methods are compared on the same images, but {lacking}. --allow-missing leaves out "
            "what not all of them have"
        )
    note = f"left out: {len(missing)} images that not all methods have: {shorten(missing)}"
    return {
        method: Matches([pair for pair in found.pairs if pair.name in common], [*found.notes, note])
        for method, found in matches.items()
    }


def _beside(partial: Path | None, method: str) -> Path | None:
    """Folder of another method's partial results; a name may hold what no file's may."""
    if partial is None:
        return None
    return partial.with_name(f"{partial.name}-{re.sub(r'[^A-Za-z0-9.+-]+', '_', method)[:80]}")


def _refined_origin(origin: MapOrigin | None, refinement: Refinement) -> MapOrigin | None:
    if origin is None:
        return None
    steps = [*(origin.refinement or ()), *refinement.record()]
    return replace(origin, score=refinement.score_name(origin.score), refinement=steps)
