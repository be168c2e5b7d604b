"""Files of class labels for the closed set of each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ood_seg.datasets.listing import shorten
from ood_seg.evaluation.folders import MapFolders
from ood_seg.evaluation.matching import match_others
from ood_seg.spelling import did_you_mean


def labels_by_method(
    labels: Path | Mapping[str, Path] | None, names: Sequence[str]
) -> dict[str, Path]:
    """The folder of predicted labels of each method that has one; one folder is that of all.

    Raises:
        ValueError: a name is none of the methods.
    """
    if not isinstance(labels, Mapping):
        return {} if labels is None else dict.fromkeys(names, labels)
    for name in labels:
        if name not in names:
            raise ValueError(
                f"predicted_labels: {name!r} is none of the methods{did_you_mean(name, names)}; "
                f"there are: {', '.join(names)}"
            )
    return dict(labels)


def class_files(
    folders: MapFolders, names: Sequence[str], predicted: Path | None, known: Path | None
) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Predicted and true class labels of the images, and notes on images without them.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: only one folder is given, or an image has no file although none may be missing.
    """
    if predicted is None and known is None:
        return {}, []
    if predicted is None or known is None:
        raise ValueError(
            "the closed set needs both predicted_labels and known_labels, got only "
            f"{predicted or known}"
        )
    found, notes = [], []
    for folder in (predicted, known):
        files = match_others(folder, names, strip=folders.strip)
        missing = [name for name in names if name not in files]
        if missing and not folders.allow_missing:
            raise ValueError(
                f"{folder}: no label map for {len(missing)} images: {shorten(missing)}"
            )
        if missing:
            notes.append(f"left out of the closed set: {len(missing)} images")
        found.append(files)
    return {name: (found[0][name], found[1][name]) for name in found[0] if name in found[1]}, notes
