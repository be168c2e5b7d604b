"""The folder of a project of somebody's own data, written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ood_seg.datasets.setup.own_classes import Value, value_text
from ood_seg.datasets.setup.own_config import Base, distinct_colours, own_config
from ood_seg.datasets.setup.own_data import Pair, Values, write_labels
from ood_seg.datasets.setup.pair_checks import Track, untracked
from ood_seg.io.files import unfinished_path, write_text
from ood_seg.labels import IGNORE


@dataclass(frozen=True)
class OwnData:
    """Images and masks with all that was decided about them.

    Attributes:
        root: folder of the data.
        pairs: images and masks.
        values: of the masks.
        classes: values of each class, in the order of the labels.
        labels: of each value that occurs.
        parts: names of the images of `train` and `val`.
    """

    root: Path
    pairs: Sequence[Pair]
    values: Values
    classes: Mapping[str, Sequence[Value]]
    labels: Mapping[Value, int]
    parts: Mapping[str, Sequence[str]]

    @property
    def mask_suffix(self) -> str | None:
        """What follows the name in that of every mask, if the masks are label images already."""
        suffixes = {pair.mask.name[len(Path(pair.name).name) :] for pair in self.pairs}
        as_they_are = all(value == label for value, label in self.labels.items())
        return suffixes.pop() if as_they_are and len(suffixes) == 1 else None

    @property
    def palette(self) -> list[tuple[int, int, int]]:
        """A colour RGB of each class: that of its masks where they have colours."""
        firsts = [held[0] for held in self.classes.values()]
        own = [value for value in firsts if isinstance(value, tuple)]
        return own if len(own) == len(firsts) else distinct_colours(len(firsts))


def write_project(
    project: Path, data: OwnData, *, base: str | None = None, track: Track = untracked
) -> str:
    """Write config, classes, split and, where the masks need it, label images.

    Args:
        project: folder to create; it may exist if it is empty.
        data: what it is about.
        base: config of the network; None: a small ERFNet.
        track: shows the progress.

    Returns:
        Name of the checkpoint that a whole training writes last.

    Raises:
        FileNotFoundError, ValueError: of the base, see `Base.load`.
        OSError: the folder cannot be written.
    """
    network = Base() if base is None else Base.load(base)
    project.parent.mkdir(parents=True, exist_ok=True)
    unfinished = unfinished_path(project)
    try:
        _write_files(unfinished, project, data, network, track)
        unfinished.rename(project)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return network.last_checkpoint


def _write_files(folder: Path, project: Path, data: OwnData, network: Base, track: Track) -> None:
    first, suffix = data.pairs[0], data.mask_suffix
    depth = first.name.count("/")
    if suffix is None:
        in_colour = data.values.in_colour
        write_labels(data.pairs, data.labels, folder / "labels", in_colour=in_colour, track=track)
    for part, names in data.parts.items():
        write_text(folder / f"{part}.txt", "".join(f"{name}\n" for name in names))
    write_text(folder / "classes.txt", _class_file(data))
    counts = ", ".join(f"{len(names)} {part}" for part, names in data.parts.items())
    heights, widths = zip(*data.values.shapes, strict=True)
    text = own_config(
        project,
        network,
        title=f"{len(data.classes)} classes of own data; images: {counts}.",
        classes=tuple(data.classes),
        palette=data.palette,
        shape=(int(np.median(heights)), int(np.median(widths))),
        num_train=len(data.parts["train"]),
        data_root=data.root.resolve(),
        images=first.image.parents[depth].resolve(),
        labels=None if suffix is None else first.mask.parents[depth].resolve(),
        img_suffix=first.image.suffix,
        seg_map_suffix=suffix or ".png",
    )
    write_text(folder / "config.py", text)


def _class_file(data: OwnData) -> str:
    """Lines as `--classes FILE` reads them, with what was found as comments."""
    lines = ["# NAME=VALUE of the masks, in the order of the labels 0, 1, 2, ..."]
    for name, held in data.classes.items():
        share = sum(map(data.values.share, held))
        lines.append(f"# {share:.2%} of the pixels:")
        lines += [f"{name}={value_text(value)}" for value in held]
    ignored = [value for value, label in data.labels.items() if label == IGNORE]
    lines += [
        f"# ignored: {value_text(value)} ({data.values.share(value):.2%})" for value in ignored
    ]
    return "\n".join(lines) + "\n"
