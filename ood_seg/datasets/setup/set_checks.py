"""Checking published sets in their places below a data root; no mmseg is needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ood_seg.datasets.coco_files import image_path, read_annotations
from ood_seg.datasets.listing import files_by_stem, shorten
from ood_seg.datasets.setup.checks import Report, check_checkpoint, check_images, check_pairs
from ood_seg.datasets.setup.known_sets import COCO, COCO_ANNOTATIONS, COCO_IMAGES, KnownSet
from ood_seg.datasets.setup.set_parts import Part


@dataclass
class SetOnDisk:
    """A known set, where it was found (or would be), and its parts."""

    known_set: KnownSet
    folder: Path
    is_missing: bool
    parts: list[Part] = field(default_factory=list)

    @property
    def num_pairs(self) -> int:
        """Number of pairs to check."""
        return sum(len(part.listing.pairs) for part in self.parts)


def find_set(known_set: KnownSet, root: Path) -> SetOnDisk:
    """Look for a set below the data root and list its files."""
    folder = next((root / name for name in known_set.folders if (root / name).is_dir()), None)
    if folder is None:
        return SetOnDisk(known_set, root / known_set.folders[0], is_missing=True)
    return set_in(known_set, folder)


def set_in(known_set: KnownSet, folder: Path, *, partial: bool = False) -> SetOnDisk:
    """List the files of a set in a folder; `partial` accepts any number of them but zero."""
    parts = known_set.parts(folder)
    if partial:
        parts = [replace(part, expected=None, published=part.expected) for part in parts]
    return SetOnDisk(known_set, folder, is_missing=False, parts=parts)


def check_set(
    on_disk: SetOnDisk, *, quick: bool = False, advance: Callable[[], None] = lambda: None
) -> Report:
    """Check the files of a set that `find_set` listed."""
    known_set = on_disk.known_set
    report = Report(
        known_set.name, on_disk.folder, remedy=known_set.remedy, is_missing=on_disk.is_missing
    )
    for part in on_disk.parts:
        found, problems = check_pairs(
            part.listing,
            part.label_map,
            expected_count=part.expected,
            required=part.required,
            quick=quick,
            advance=advance,
        )
        prefix = f"{part.name}: " if part.name else ""
        some = part.published and len(part.listing.pairs) != part.published
        report.found.append(prefix + found + (f" ({part.published} published)" if some else ""))
        report.found += [prefix + note for note in part.listing.notes]
        report.problems += [prefix + problem for problem in problems]
    if not on_disk.is_missing and not on_disk.parts:
        report.problems.append(f"{on_disk.folder} holds nothing of the expected layout")
    return report


def check_coco(
    annotations: Path,
    images: Path,
    *,
    quick: bool = False,
    name: str = COCO.name,
    advance: Callable[[], None] = lambda: None,
) -> Report:
    """Check COCO's instance annotations and that the pictures they list are there."""
    report = Report(name, images.parent, remedy=COCO.remedy)
    try:
        content = read_annotations(annotations)
    except (ValueError, OSError) as error:
        report.problems.append(str(error))
        return report
    paths, outside = [], []
    for image in content["images"]:
        try:
            paths.append(image_path(images, image["file_name"], annotations))
        except ValueError:
            outside.append(repr(image["file_name"]))
    report.found.append(f"{len(content['images'])} images, {len(content['annotations'])} instances")
    if outside:
        report.problems.append(
            f"{len(outside)} file names in {annotations} lead out of {images}: {shorten(outside)}"
        )
    report.problems += check_images(paths, quick=quick, advance=advance)
    return report


def find_coco(
    root: Path, *, quick: bool = False, advance: Callable[[], None] = lambda: None
) -> Report:
    """Check COCO train2017 in its place below the data root."""
    folder = root / COCO.folders[0]
    if not folder.is_dir():
        return Report("coco", folder, remedy=COCO.remedy, is_missing=True)
    report = check_coco(
        folder / COCO_ANNOTATIONS, folder / COCO_IMAGES, quick=quick, advance=advance
    )
    report.folder = folder
    return report


def find_weights(root: Path, *, quick: bool = False) -> Report:
    """Check the checkpoint files in `weights/`."""
    folder = root / "weights"
    remedy = (
        "Put the checkpoints that configs load in weights/; any mmsegmentation checkpoint serves: "
        "https://github.com/open-mmlab/mmsegmentation/blob/main/docs/en/model_zoo.md"
    )
    report = Report("weights", folder, remedy=remedy)
    by_stem = files_by_stem(folder, (".pth", ".pt")) if folder.is_dir() else {}
    files = [path for paths in by_stem.values() for path in paths]
    report.is_missing = not files
    report.found += [path.name for path in files]
    report.problems += [fault for path in files if (fault := check_checkpoint(path, quick=quick))]
    return report
