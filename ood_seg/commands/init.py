"""Start a project from a folder of own images and masks: config, classes and a split."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands._model_arguments import COMPLETE_CONFIG, CONFIG_HELP
from ood_seg.commands._summary import Outcome
from ood_seg.labels import IGNORE
from ood_seg.progress import progress_tasks

if TYPE_CHECKING:
    from ood_seg.datasets.setup.own_classes import Value
    from ood_seg.datasets.setup.own_data import Values

USAGE = "PROJECT --data FOLDER --classes NAME..."
PAGE = "docs/own_data.md"
EXAMPLES = (
    "ood-seg init mine --data photos/  # lists the values of the masks",
    "ood-seg init mine --data photos/ --classes road=#804080 sky=#4682b4 --ignore '#000000'",
    "ood-seg init mine --data photos/ --classes road sky car --from my_mmseg_config.py",
)
_OTHERS = "others"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg init`."""
    parser.add_argument("project", type=Path, metavar="PROJECT", help="folder to create")
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder with one of images and one of masks, which are paired by name. Masks hold "
        "indices (one channel or a palette) or colours",
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        metavar="NAME[=VALUE]",
        help="names, in the order of the indices 0, 1, 2, ...; or each with its value, an index "
        "or a colour #RRGGBB, where a name may come twice; or a file with one of these a line. "
        "Without it the values are listed",
    )
    parser.add_argument(
        "--ignore",
        nargs="+",
        default=[],
        metavar="VALUE",
        help=f"values whose pixels are left out, or `{_OTHERS}`: all without a class (the index "
        "255 always is)",
    )
    base = parser.add_argument(
        "--from",
        dest="base",
        metavar="CONFIG",
        help=f"config of the network, by default a small ERFNet: {CONFIG_HELP}",
    )
    base.complete = COMPLETE_CONFIG  # type: ignore[attr-defined]
    division = parser.add_argument_group("data")
    division.add_argument(
        "--val-share",
        type=float,
        default=0.2,
        metavar="SHARE",
        help="of the images for validation, unless they lie in train/ and val/ (default: "
        "%(default)s)",
    )
    division.add_argument(
        "--seed", type=int, default=0, metavar="N", help="of that choice (default: %(default)s)"
    )
    division.add_argument("--images", metavar="FOLDER", help="name of the folder of images")
    division.add_argument("--masks", metavar="FOLDER", help="name of the folder of masks")


def run(args: argparse.Namespace) -> Outcome:
    """Look at the data, write the project and print the next commands."""
    from ood_seg.datasets.setup import own_classes, own_data, terminal
    from ood_seg.datasets.setup.own_project import OwnData, write_project

    if args.project.exists() and (not args.project.is_dir() or any(args.project.iterdir())):
        raise ValueError(f"{args.project} exists; give another folder, nothing is overwritten")
    classes = own_classes.parse_classes(_class_texts(args.classes)) if args.classes else None
    ignored = None if args.ignore == [_OTHERS] else list(map(own_classes.parse_value, args.ignore))
    pairs = own_data.find_pairs(args.data, args.images, args.masks)
    with progress_tasks() as shown:
        track = terminal.tracker(shown, "values of the masks")
        values = own_data.count_values(pairs, in_colour=_in_colour(classes), track=track)
    terminal.print_lines(*_value_lines(values, classes or {}, ignored))
    if classes is None:
        found = map(own_classes.value_text, sorted(values.pixels))
        texts = " ".join(f"NAME='{value}'" for value in found)
        raise ValueError(f"name the classes: --classes {texts}")
    labels = own_data.assigned(values, classes, ignored)
    names = [pair.name for pair in pairs]
    parts, given = own_data.split(names, val_share=args.val_share, seed=args.seed)
    data = OwnData(args.data, pairs, values, classes, labels, parts)
    with progress_tasks() as shown:
        last = write_project(
            args.project, data, base=args.base, track=terminal.tracker(shown, "label images")
        )
    absent = [name for name, held in classes.items() if not values.pixels.keys() & set(held)]
    how = "by their folders" if given else f"seed {args.seed}; scenes of one drive may be in both"
    terminal.print_lines(
        *(f"note: no mask has a pixel of {name!r}" for name in absent),
        f"{len(parts['train'])} images for training, {len(parts['val'])} for validation ({how})",
        f"written to {args.project}; next:",
        *(f"  {line}" for line in _next_commands(args.project, last)),
    )
    counts = {"images": len(pairs), **{part: len(found) for part, found in parts.items()}}
    shares = {own_classes.value_text(value): values.share(value) for value in values.pixels}
    return Outcome(outputs=[args.project], numbers={**counts, "shares": shares})


def _class_texts(texts: Sequence[str]) -> list[str]:
    """The texts, or the lines of the one file that they name."""
    if len(texts) > 1 or not Path(texts[0]).is_file():
        return list(texts)
    lines = Path(texts[0]).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _in_colour(classes: Mapping[str, Sequence[Value]] | None) -> bool | None:
    """Whether palette images are to be read as colours, which they are if classes have colours."""
    if classes is None:
        return None
    return isinstance(next(iter(classes.values()))[0], tuple)


def _value_lines(
    values: Values,
    classes: Mapping[str, Sequence[Value]],
    ignored: Sequence[Value] | None,
) -> list[str]:
    """A line for each value: what it is, its share of all pixels, and the images that have it."""
    from ood_seg.datasets.setup.own_classes import value_text

    owners = {value: name for name, held in classes.items() for value in held}
    left_out = {IGNORE, *(values.pixels if ignored is None else ignored)}
    lines = [f"{'value':<10} {'share':>8} {'images':>7}  class"]
    for value, _ in values.pixels.most_common():
        owner = owners.get(value, "(ignored)" if value in left_out else "")
        share, images = f"{values.share(value):.2%}", values.images[value]
        lines.append(f"{value_text(value):<10} {share:>8} {images:>7}  {owner}".rstrip())
    return lines


def _next_commands(project: Path, last: str) -> list[str]:
    work = Path("work_dirs") / project.resolve().name
    return [
        f"ood-seg train {project / 'config.py'} --work-dir {work}",
        f"ood-seg test {work / last}",
        f"ood-seg export-onnx {work / last} {project.resolve().name}.onnx",
    ]
