"""From the archives of a publisher to the layout that a data set class reads.

`make_plan` looks at everything and writes nothing; `run_plan` writes what the plan says, each
file whole or not at all, and skips what is there, so that it can be run again at any time.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

from ood_seg.datasets.coco_rules import (
    CITYSCAPES_LIKE_CATEGORIES,
    PEBAL_EXCLUDED_CATEGORIES,
    PEBAL_MIN_IMAGE_SIZE,
)
from ood_seg.datasets.listing import shorten
from ood_seg.datasets.setup.archives import ARCHIVE_ERRORS, Member, Source, place_below, whole_file
from ood_seg.datasets.setup.derived_files import composed_picture, outlier_list, train_ids_picture
from ood_seg.datasets.setup.known_sets import COCO_ANNOTATIONS, KnownSet
from ood_seg.datasets.setup.routing import Routed, image_key, route_files
from ood_seg.datasets.setup.set_files import FileRules

OUTLIER_LIST = "annotations/outliers_train2017.json"
PEBAL_OUTLIER_LIST = "annotations/outliers_pebal_train2017.json"
_BLOCK = 1 << 20
# No single picture or overlay is as large as this.
_MOST_IN_MEMORY = 1 << 28


@dataclass(frozen=True)
class Action:
    """One file to write: its place, at most about so many bytes, and how; may return a note."""

    target: str
    size: int
    write: Callable[[IO[bytes]], str | None]


@dataclass
class Plan:
    """What is to be done for a set, and what stands against it.

    Attributes:
        folder: of the set.
        actions: in the order in which sources are read fastest.
        present: number of files that are there already.
        problems: must be repaired first.
        gaps: missing, misnamed or spare files; a part of a set is accepted on request.
        notes: what was left out rightly.
    """

    folder: Path
    actions: list[Action] = field(default_factory=list)
    present: int = 0
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes to be written, at most about."""
        return sum(action.size for action in self.actions)


def make_plan(
    known_set: KnownSet, sources: Sequence[Source], folder: Path, *, pebal: bool = False
) -> Plan:
    """Say which files go where, and everything that is wrong.

    Args:
        known_set: with `files`.
        sources: opened archives and folders, in any order.
        folder: of the set; need not exist.
        pebal: for COCO, also write the list of pictures that PEBAL pastes from.

    Raises:
        ValueError: the set is one that is unpacked as it is.
    """
    rules = known_set.files
    if rules is None:
        raise ValueError(
            f"{known_set.name} needs no preparation; unpack it so that the folder holds "
            f"{known_set.layout}"
        )
    routed = route_files(rules, sources, folder)
    plan = Plan(folder, problems=routed.problems, gaps=routed.gaps, notes=routed.notes)
    if not routed.files:
        looked = shorten(source.path for source in sources) or folder
        plan.problems.append(
            f"{looked} holds no file of {known_set.name}; expected {known_set.remedy}"
        )
        return plan
    _plan_copies(plan, routed, sources)
    derive = {
        "": lambda *given: (),
        "train_ids": _derive_train_ids,
        "overlays": _derive_overlays,
        "outlier_lists": partial(_derive_outlier_lists, pebal=pebal),
    }
    for action in derive[rules.derive](plan, routed, rules):
        if (folder / action.target).is_file():
            plan.present += 1
        else:
            plan.actions.append(action)
    plan.problems += _space_problems(plan)
    return plan


def _plan_copies(plan: Plan, routed: Routed, sources: Sequence[Source]) -> None:
    """Enter what is to be copied, source by source in the order of their files."""
    order = {source: index for index, source in enumerate(sources)}
    in_order = sorted(
        routed.targets.items(), key=lambda item: (order.get(item[0].source, -1), item[0].position)
    )
    differ, outside = [], []
    for member, target in in_order:
        try:
            path = place_below(plan.folder, target)
        except ValueError as error:
            outside.append(str(error))
            continue
        if not path.exists() and not path.is_symlink():
            plan.actions.append(Action(target, member.size, partial(_copy, member)))
        elif path.is_file() and path.stat().st_size == member.size:
            plan.present += 1
        else:
            differ.append(f"{path}, given {member} of {member.size} bytes")
    if differ:
        plan.problems.append(
            f"{len(differ)} files stand in the folder with another content than is given; remove "
            f"them or give another --out: {shorten(differ, separator='; ')}"
        )
    if outside:
        plan.problems.append(f"{len(outside)} places are refused: {shorten(outside, 3)}")


def _copy(member: Member, file: IO[bytes]) -> None:
    """Copy block by block, so that an archive's member never stands in memory as a whole."""
    written = 0
    with member.open() as content:
        while block := content.read(_BLOCK):
            file.write(block)
            written += len(block)
    if written != member.size:
        raise ValueError(f"{member} is cut off: {written} of {member.size} bytes")


def _read(member: Member) -> bytes:
    if member.size > _MOST_IN_MEMORY:
        raise ValueError(f"{member} declares {member.size} bytes, too many for one picture")
    with member.open() as content:
        return content.read(_MOST_IN_MEMORY)


def _derive_train_ids(plan: Plan, routed: Routed, rules: FileRules) -> Iterator[Action]:
    """TrainIds beside the label ids, where none are published."""
    for key, label in routed.role("label").items():
        if key not in routed.role("trainIds"):
            target = f"gtFine/{key}_gtFine_labelTrainIds.png"
            yield Action(target, label.size, partial(_write_train_ids, label))


def _write_train_ids(label: Member, file: IO[bytes]) -> None:
    file.write(train_ids_picture(_read(label), label))


def _derive_overlays(plan: Plan, routed: Routed, rules: FileRules) -> Iterator[Action]:
    """Composed pictures of Fishyscapes Static beside their labels."""
    for key in routed.role("label"):
        if key not in routed.role("composed"):
            overlay = routed.role("overlay")[key]
            image = routed.role("image")[image_key(rules, key)]
            target = f"fs_val_v{rules.version}/{key}_rgb.png"
            yield Action(target, 2 * image.size, partial(_write_composed, overlay, image))


def _write_composed(overlay: Member, image: Member, file: IO[bytes]) -> None:
    file.write(composed_picture(_read(overlay), _read(image), overlay, image))


def _derive_outlier_lists(
    plan: Plan, routed: Routed, rules: FileRules, *, pebal: bool
) -> Iterator[Action]:
    """Shortened annotation files, made from the one that stands in the folder by then."""
    rule = dict(exclude=CITYSCAPES_LIKE_CATEGORIES, whole_images=False, min_image_size=None)
    chosen = [(OUTLIER_LIST, rule)]
    if pebal:
        rule = dict(
            exclude=PEBAL_EXCLUDED_CATEGORIES,
            whole_images=True,
            min_image_size=PEBAL_MIN_IMAGE_SIZE,
        )
        chosen.append((PEBAL_OUTLIER_LIST, rule))
    for member in routed.role("annotations").values():
        for target, rule in chosen:
            write = partial(_write_outlier_list, plan.folder / COCO_ANNOTATIONS, rule)
            yield Action(target, member.size, write)


def _write_outlier_list(annotations: Path, rule: dict, file: IO[bytes]) -> str:
    content, sentence = outlier_list(annotations, **rule)
    file.write(content)
    return sentence


def _space_problems(plan: Plan) -> list[str]:
    place = next(path for path in (plan.folder, *plan.folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if plan.size <= free:
        return []
    return [
        f"{plan.folder} needs up to {plan.size / 1e9:.2f} GB, its disk has {free / 1e9:.2f} GB "
        "free; make room or give another --out"
    ]


def run_plan(
    plan: Plan, *, advance: Callable[[int], None] = lambda size: None
) -> tuple[list[str], list[str]]:
    """Write the files of a plan.

    Args:
        plan: whose problems were dealt with.
        advance: called with the planned bytes of each file that is done with.

    Returns:
        Notes, and failures: files that could not be made, with the reason; they were not
        written, the others were.

    Raises:
        ValueError: the disk refuses to be written to.
    """
    notes, failures = [], []
    for action in plan.actions:
        try:
            with whole_file(place_below(plan.folder, action.target)) as file:
                note = action.write(file)
            notes += [f"{action.target}: {note}"] if note else []
        except (ValueError, *ARCHIVE_ERRORS) as error:
            failures.append(f"{action.target} not written: {error or type(error).__name__}")
        except OSError as error:
            raise ValueError(
                f"cannot write {plan.folder / action.target}: {error}; every file so far is "
                "whole, so run the command again once this is repaired"
            ) from error
        advance(action.size)
    return notes, failures
