"""Which files of which sources a set is made of, and everything that is wrong with them.

Pure bookkeeping on names and sizes: no file is read or written here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ood_seg.datasets.listing import shorten
from ood_seg.datasets.setup.archives import Member, Source, open_source
from ood_seg.datasets.setup.set_files import KEEP, LEAVE_OUT, MISSING_LABEL, FileRules

_VERSION = re.compile(r"fs_val_v(\d)")


@dataclass
class Routed:
    """The files of a set by role and key, and what was said about them on the way.

    Attributes:
        files: role -> key -> member.
        targets: member -> place below the folder of the set, for those that go there.
        problems: what must be repaired (refused entries, doubles, damage).
        gaps: what is missing, misnamed or too much; a part of a set may have such.
        notes: what was left out rightly.
    """

    files: dict[str, dict[str, Member]] = field(default_factory=dict)
    targets: dict[Member, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def role(self, name: str) -> dict[str, Member]:
        """Files of a role by key."""
        return self.files.get(name, {})


def image_key(rules: FileRules, label_key: str) -> str:
    """Key of the image that a label belongs to."""
    return label_key.partition("_")[2] if rules.numbered else label_key


def route_files(rules: FileRules, sources: Sequence[Source], folder: Path) -> Routed:
    """Sort the files of all sources, and of the set's own folder, into their roles.

    Files that stand in their place in `folder` already fill in what the sources do not give.

    Args:
        rules: of the set.
        sources: opened; an empty list means that `folder` holds the tree already.
        folder: of the set; need not exist.
    """
    routed = Routed()
    misnamed, unneeded, doubles = [], 0, []
    for source in sources:
        contents = source.contents(rules.limit)
        routed.problems += contents.problems
        routed.problems += _version_problems(rules, source, contents.members)
        for member in contents.members:
            match = _match(rules, member.name)
            if match is None:
                unneeded += 1
                misnamed += [str(member)] if member.name.endswith(rules.endings) else []
            elif match[0] == "unneeded":
                unneeded += 1
            elif match[1] in routed.role(match[0]):
                doubles.append(f"{routed.role(match[0])[match[1]]} and {member}")
            else:
                _enter(routed, member, *match)
    if folder.is_dir() and all(source.path.resolve() != folder.resolve() for source in sources):
        _enter_present(routed, rules, folder)
    if doubles:
        routed.problems.append(
            f"{len(doubles)} files are given twice: {shorten(doubles, separator='; ')}"
        )
    if misnamed:
        routed.gaps.append(f"{len(misnamed)} files are not named as published: {shorten(misnamed)}")
    if unneeded:
        routed.notes.append(f"{unneeded} other files are not needed")
    _count(routed, rules)
    _pair(routed, rules)
    return routed


def _match(rules: FileRules, name: str) -> tuple[str, str, str | None] | None:
    """Role, key and place of a path, or None."""
    for route in rules.routes:
        found = re.search(rf"(?:^|/){route.pattern}$", name)
        if found:
            target = None if route.target is None else found.expand(route.target)
            return route.role, found["key"], target
    return None


def _enter(routed: Routed, member: Member, role: str, key: str, target: str | None) -> None:
    routed.files.setdefault(role, {})[key] = member
    if target is not None:
        routed.targets[member] = target


def _enter_present(routed: Routed, rules: FileRules, folder: Path) -> None:
    """Add what stands in its place in the folder of the set."""
    for member in open_source(folder).contents(rules.limit).members:
        match = _match(rules, member.name)
        if match and match[2] == member.name and match[1] not in routed.role(match[0]):
            _enter(routed, member, *match)


def _version_problems(rules: FileRules, source: Source, members: list[Member]) -> list[str]:
    """Versions of Static have the same file names; archive and folder names tell them apart."""
    if not rules.version:
        return []
    names = [source.path.name, *(member.name for member in members if _match(rules, member.name))]
    named = {found[1] for found in map(_VERSION.search, names) if found}
    wrong = sorted(named - {rules.version})
    return [
        f"{source.path} is version {version} of the set, expected version {rules.version}"
        for version in wrong
    ]


def _pair(routed: Routed, rules: FileRules) -> None:
    """Name images without label and labels without image, and take neither along."""
    if "label" not in rules.counts:
        return
    images, labels = routed.role("image"), _labels(routed, rules)
    # What was composed before needs no image below it any more.
    composed = routed.role("composed")
    alone = [k for k in labels if k not in composed and image_key(rules, k) not in images]
    bare = [k for k in labels if k not in composed and k not in routed.role("overlay")]
    bare = bare if rules.derive == "overlays" else []
    for keys, what in ((alone, "an image"), (bare, "an overlay")):
        if keys:
            named = shorten(labels[key] for key in keys)
            routed.gaps.append(f"{len(keys)} labels without {what}: {named}")
    wanted = {image_key(rules, key) for key in labels}
    spare = [key for key in images if key not in wanted]
    if spare and rules.unlabelled == MISSING_LABEL:
        named = shorten(images[key] for key in spare)
        routed.gaps.append(f"{len(spare)} images without a label: {named}")
    elif spare:
        left = rules.unlabelled == LEAVE_OUT
        routed.notes.append(f"{len(spare)} images without a label are {'not ' * left}taken")
    for key in spare if rules.unlabelled != KEEP else ():
        routed.targets.pop(images.pop(key), None)
    for role in (routed.files[name] for name in routed.files if name != "image"):
        for key in (*alone, *bare):
            routed.targets.pop(role.pop(key, None), None)


def _labels(routed: Routed, rules: FileRules) -> dict[str, Member]:
    """Labels by key, and what serves as one."""
    return {**routed.role(rules.instead_of_label), **routed.role("label")}


def _count(routed: Routed, rules: FileRules) -> None:
    for role, expected in rules.counts.items():
        found = len(_labels(routed, rules) if role == "label" else routed.role(role))
        if found != expected:
            routed.gaps.append(f"expected {expected} files of kind {role}, found {found}")
