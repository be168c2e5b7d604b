"""From the archives of a publisher to the layout that a dataset class reads.

`make_plan` checks everything and writes nothing; `run_plan` writes the files of the plan, each
atomically, and skips those that exist, so that it can be run again at any time.
"""

from __future__ import annotations

import math
import re
import shutil
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ood_seg.datasets.listing import shorten
from ood_seg.datasets.setup.archives import ARCHIVE_ERRORS, Member, leads_below, list_members
from ood_seg.datasets.setup.converters import NewFile
from ood_seg.datasets.setup.pair_checks import Track, untracked
from ood_seg.datasets.setup.published_dataset import PublishedDataset
from ood_seg.io.files import atomic_path

_STATIC_VERSION = re.compile(r"fs_val_v(\d)")


@dataclass
class Plan:
    """What is to be written for a dataset, and what prevents it.

    Attributes:
        folder: of the dataset.
        files: role -> key -> published file.
        targets: published file -> its place below the folder, for those that are copied.
        new_files: to be written, in the order in which archives are read fastest.
        present: number of files that exist already.
        problems: must be repaired first.
        gaps: missing, misnamed or spare files; a part of a dataset is accepted on request.
        notes: on files that are left out as intended.
    """

    folder: Path
    files: dict[str, dict[str, Member]] = field(default_factory=lambda: defaultdict(dict))
    targets: dict[Member, str] = field(default_factory=dict)
    new_files: list[NewFile] = field(default_factory=list)
    present: int = 0
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes to be written, an upper estimate."""
        return sum(file.size for file in self.new_files)

    def obstacles(self, *, accept_part: bool) -> list[str]:
        """Return what must be repaired before the plan can be run."""
        return self.problems + ([] if accept_part else self.gaps)

    @property
    def labels(self) -> dict[str, Member]:
        """Labels by key; where only trainIds are given they serve as such."""
        return {**self.files["trainIds"], **self.files["label"]}


def make_plan(
    dataset: PublishedDataset,
    sources: Sequence[Path],
    folder: Path,
    stack: ExitStack,
    **converter_options: object,
) -> Plan:
    """Determine which files go where, and everything that is wrong.

    Args:
        dataset: one with `files`.
        sources: archives and folders in any order; without any, `folder` itself is completed.
        folder: of the dataset; need not exist.
        stack: keeps the archives open until the plan has been run.
        **converter_options: of the dataset's converter, such as `pebal` for COCO.

    Raises:
        FileNotFoundError: a source does not exist.
        ValueError: a source is not an archive, or the dataset needs no preparation.
    """
    if not dataset.files:
        raise ValueError(
            f"{dataset.name} needs no preparation; unpack it so that the folder holds "
            f"{dataset.layout}"
        )
    plan = Plan(folder)
    _assign_roles(plan, dataset, sources or [folder], stack)
    if not any(plan.files.values()):
        listed = shorten(sources or [folder])
        plan.problems.append(f"{listed} holds no file of {dataset.name}; expected {dataset.remedy}")
        return plan
    for role, expected in dataset.counts.items():
        found = len(plan.labels if role == "label" else plan.files[role])
        if found != expected:
            plan.gaps.append(f"expected {expected} files of kind {role}, found {found}")
    if "label" in dataset.counts:
        _drop_unpaired(plan, dataset)
    copies = [
        NewFile(target, member.size, partial(_copy, member), member)
        for member, target in plan.targets.items()
    ]
    _select_new(plan, [*copies, *dataset.converter(plan.files, folder, **converter_options)])
    return plan


def _assign_roles(
    plan: Plan, dataset: PublishedDataset, sources: Sequence[Path], stack: ExitStack
) -> None:
    """Sort the files of all sources, and those that are in place already, by role and key."""
    misnamed, doubles, unneeded = [], [], 0
    for source in sources:
        members, problems = list_members(source, stack, limit=dataset.limit)
        plan.problems += problems + _version_problems(dataset, source, members)
        for member in members:
            role, key, target = dataset.match(member.name)
            if role in ("", "unneeded"):
                unneeded += 1
                misnamed += [member] if not role and member.name.endswith(dataset.endings) else []
            elif key in plan.files[role]:
                doubles.append(f"{plan.files[role][key]} and {member}")
            else:
                plan.files[role][key] = member
                plan.targets |= {member: target} if target else {}
    if plan.folder.is_dir() and plan.folder.resolve() not in [s.resolve() for s in sources]:
        for member in list_members(plan.folder, stack, limit=math.inf)[0]:
            role, key, target = dataset.match(member.name)
            if target == member.name and key not in plan.files[role]:
                plan.files[role][key] = member
                plan.targets[member] = target
    if doubles:
        listed = shorten(doubles, separator="; ")
        plan.problems.append(f"{len(doubles)} files are given twice: {listed}")
    if misnamed:
        plan.gaps.append(f"{len(misnamed)} files are not named as published: {shorten(misnamed)}")
    if unneeded:
        plan.notes.append(f"{unneeded} other files are not needed")


def _version_problems(dataset: PublishedDataset, source: Path, members: list[Member]) -> list[str]:
    """The versions of Static share their file names; names of archives and folders differ."""
    if not dataset.version:
        return []
    names = [source.name, *(member.name for member in members if dataset.match(member.name)[0])]
    found = {match[1] for match in map(_STATIC_VERSION.search, names) if match}
    return [
        f"{source} is version {version} of the dataset, expected version {dataset.version}"
        for version in sorted(found - {dataset.version})
    ]


def _drop_unpaired(plan: Plan, dataset: PublishedDataset) -> None:
    """Name images without label and labels without image, and leave both out."""
    images, labels = plan.files["image"], plan.labels
    # What has been composed already needs neither image nor overlay.
    needed = [key for key in labels if key not in plan.files["composed"]]
    alone = [key for key in needed if dataset.image_key(key) not in images]
    bare = [key for key in needed if key not in plan.files["overlay"]] if dataset.version else []
    for keys, what in ((alone, "an image"), (bare, "an overlay")):
        if keys:
            listed = shorten(labels[key] for key in keys)
            plan.gaps.append(f"{len(keys)} labels without {what}: {listed}")
    spare = images.keys() - {dataset.image_key(key) for key in labels}
    if spare and dataset.spare_images == "gap":
        listed = shorten(images[key] for key in images if key in spare)
        plan.gaps.append(f"{len(spare)} images without a label: {listed}")
    elif spare:
        taken = "taken" if dataset.spare_images == "keep" else "not taken"
        plan.notes.append(f"{len(spare)} images without a label are {taken}")
    dropped = [("image", key) for key in spare if dataset.spare_images != "keep"]
    dropped += [(role, key) for role in plan.files if role != "image" for key in (*alone, *bare)]
    for role, key in dropped:
        if key in plan.files[role]:
            plan.targets.pop(plan.files[role].pop(key), None)


def _select_new(plan: Plan, files: Sequence[NewFile]) -> None:
    """Take those that do not exist into the plan, and check that they can be written."""
    differ, outside = [], []
    for new_file in files:
        path = plan.folder / new_file.target
        if not leads_below(plan.folder, new_file.target):
            outside.append(path)
        elif not path.exists() and not path.is_symlink():
            plan.new_files.append(new_file)
        elif new_file.copied_from is None or (
            path.is_file() and path.stat().st_size == new_file.size
        ):
            plan.present += 1
        else:
            differ.append(f"{path}, given {new_file.copied_from} of {new_file.size} bytes")
    if differ:
        plan.problems.append(
            f"{len(differ)} files exist in the folder with other content than given; remove "
            f"them or give another --out: {shorten(differ, separator='; ')}"
        )
    if outside:
        plan.problems.append(
            f"{len(outside)} places lead out of {plan.folder}; nothing is written through links, "
            f"give the real folder as --out: {shorten(outside, 3)}"
        )
    place = next(path for path in (plan.folder, *plan.folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if plan.size > free:
        plan.problems.append(
            f"{plan.folder} needs up to {plan.size / 1e9:.2f} GB, its disk has {free / 1e9:.2f} GB "
            "free; make room or give another --out"
        )


def _copy(member: Member, path: Path) -> None:
    with member.open() as content, path.open("xb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
        if file.tell() != member.size:
            raise ValueError(f"{member} is cut off: {file.tell()} of {member.size} bytes")


def run_plan(plan: Plan, *, track: Track = untracked) -> tuple[list[str], list[str]]:
    """Write the files of a plan without problems.

    Args:
        plan: from `make_plan`.
        track: shows the progress.

    Returns:
        Notes, and failures: files that could not be made, with the reason; all others are written.

    Raises:
        ValueError: the disk cannot be written to.
    """
    notes, failures = [], []
    for new_file in track(plan.new_files, total=len(plan.new_files)):
        try:
            with atomic_path(plan.folder / new_file.target) as path:
                note = new_file.write(path)
            notes += [f"{new_file.target}: {note}"] if note else []
        except (ValueError, *ARCHIVE_ERRORS) as error:
            failures.append(f"{new_file.target} not written: {error or type(error).__name__}")
        except OSError as error:
            raise ValueError(
                f"cannot write {plan.folder / new_file.target}: {error}; all files so far are "
                "complete, so run the command again once this is repaired"
            ) from error
    return notes, failures
