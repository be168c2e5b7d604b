"""Test sets and halves of them by name, for choosing on one and reporting on another."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ood_seg.commands import _test_sets

if TYPE_CHECKING:
    from mmengine.config import Config

VALIDATION = "val"
# Halves in listing order, so that neighbouring frames of a drive do not part.
PARTS = ("first-half", "second-half")


def find_sets(cfg: Config, specs: Sequence[str]) -> dict[str, tuple[dict, Any]]:
    """Data loader and evaluator configs of sets and halves.

    Args:
        cfg: the config.
        specs: `NAME` or `NAME:first-half`, `NAME:second-half`, where NAME is a test set or `val`,
            the validation set of the training (held-back pasted outliers in the shipped configs).

    Raises:
        ValueError: unknown set or part, the same one twice, or a set that cannot be halved.
    """
    known = dict(_test_sets.named_sets(cfg))
    if cfg.get("val_dataloader") and cfg.get("val_evaluator"):
        known.setdefault(VALIDATION, (cfg.val_dataloader, cfg.val_evaluator))
    if len(set(specs)) < len(specs):
        raise ValueError(f"each set once, got {', '.join(specs)}")
    found = {}
    for spec in specs:
        name, _, part = spec.partition(":")
        if name not in known:
            raise ValueError(f"no set {name!r}; there are: {', '.join(known)}")
        loader, evaluator = copy.deepcopy(known[name])
        if part:
            loader["dataset"]["indices"] = _half(loader["dataset"], part, spec)
        found[spec.replace(":", " ")] = (loader, evaluator)
    return found


def _half(dataset: dict, part: str, spec: str) -> list[int]:
    """Positions of the images in one half of a data set."""
    if part not in PARTS:
        raise ValueError(f"{spec}: no part {part!r}; there are: {', '.join(PARTS)}")
    if dataset.get("indices") is not None:
        raise ValueError(f"{spec}: the config already takes `indices` of this set; name it whole")
    count = len(image_paths(dataset))
    if count < 2:
        raise ValueError(f"{spec}: a set of {count} image cannot be halved; name it whole")
    middle = count // 2
    return list(range(middle) if part == PARTS[0] else range(middle, count))


def image_paths(dataset: dict) -> list[str]:
    """Paths of a data set's images, in its order."""
    from mmseg.registry import DATASETS

    built = DATASETS.build(dict(copy.deepcopy(dataset), pipeline=[]))
    return [built.get_data_info(index)["img_path"] for index in range(len(built))]


def require_disjoint(
    chosen_on: dict[str, tuple[dict, Any]], reported_on: dict[str, tuple[dict, Any]]
) -> None:
    """Raise if an image is used both to choose and to report.

    Raises:
        ValueError: names the sets, the number of shared images and the first.
    """
    reported = {name: set(image_paths(pair[0]["dataset"])) for name, pair in reported_on.items()}
    for chosen_name, (loader, _) in chosen_on.items():
        paths = image_paths(loader["dataset"])
        for name, others in reported.items():
            shared = [path for path in paths if path in others]
            if shared:
                raise ValueError(
                    f"{chosen_name} (to choose on) and {name} (to report on) share "
                    f"{len(shared)} images, the first is {shared[0]}: a number on images that "
                    "were chosen on is too good; take halves, e.g. "
                    "--select-on NAME:first-half --report-on NAME:second-half"
                )
