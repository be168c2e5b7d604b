"""Checking published datasets, COCO and checkpoints on disk; mmseg is not needed."""

from __future__ import annotations

import importlib.util
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ood_seg.datasets.coco_files import image_path, instances_by_image, read_annotations
from ood_seg.datasets.coco_masks import encode_mask
from ood_seg.datasets.cutout_files import cutout_faults, fault_summary, list_cutouts
from ood_seg.datasets.listing import files_by_stem, shorten
from ood_seg.datasets.setup.catalog import COCO
from ood_seg.datasets.setup.converters import COCO_ANNOTATIONS, COCO_IMAGES
from ood_seg.datasets.setup.pair_checks import Track, check_images, check_pairs, untracked
from ood_seg.datasets.setup.published_dataset import PublishedDataset
from ood_seg.datasets.setup.splits import Split

FOUND, MISSING, PROBLEMS = "found", "missing", "problems"


@dataclass
class Report:
    """Findings on one dataset.

    `found` and `problems` are sentences; `remedy` states what to do if the dataset is missing or
    has problems.
    """

    name: str
    folder: Path
    found: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remedy: str = ""
    is_missing: bool = False

    @property
    def state(self) -> str:
        """'missing', 'problems' or 'found'."""
        if self.is_missing:
            return MISSING
        return PROBLEMS if self.problems else FOUND


def check_in_root(
    dataset: PublishedDataset, root: Path, *, quick: bool = False, track: Track = untracked
) -> Report:
    """Check a published dataset in its place below the data root."""
    root = dataset.place(root)
    folder = next((root / name for name in dataset.folders if (root / name).is_dir()), None)
    if folder is None:
        place = root / dataset.folders[0]
        return Report(dataset.name, place, remedy=dataset.remedy, is_missing=True)
    return check_folder(dataset, folder, quick=quick, track=track)


def check_folder(
    dataset: PublishedDataset,
    folder: Path,
    *,
    accept_part: bool = False,
    quick: bool = False,
    track: Track = untracked,
) -> Report:
    """Check a published dataset in a folder.

    Args:
        dataset: the dataset.
        folder: an existing folder.
        accept_part: accept any number of pairs but zero.
        quick: read headers only.
        track: shows the progress.
    """
    if dataset is COCO:
        files = folder / COCO_ANNOTATIONS, folder / COCO_IMAGES
        return check_coco(*files, quick=quick, track=track)
    if dataset.image_level:
        return check_images_alone(dataset, folder, quick=quick, track=track)
    splits = dataset.splits(folder)
    report = Report(dataset.name, folder, remedy=dataset.remedy)
    if not splits:
        report.problems.append(f"{folder} holds nothing of the expected layout")
    return check_splits(report, splits, accept_part=accept_part, quick=quick, track=track)


def check_images_alone(
    dataset: PublishedDataset,
    folder: Path,
    *,
    quick: bool = False,
    track: Track = untracked,
) -> Report:
    """Check the files of a dataset without masks, of which any part serves; see `check_folder`."""
    report = Report(dataset.name, folder, remedy=dataset.remedy)
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [path.relative_to(folder).as_posix() for path in paths]
    roles = [dataset.match(name)[0] for name in names]
    images = [path for path, role in zip(paths, roles, strict=True) if role == "image"]
    report.found.append(f"{len(images)} images ({dataset.counts['image']} published)")
    if not images:
        report.problems.append(f"{folder} holds no image of the expected layout")
    lists = dataset.counts.get("list", 0)
    if roles.count("list") < lists:
        report.problems.append(f"{folder}: expected {lists} lists, found {roles.count('list')}")
    report.problems += check_images(images, quick=quick, track=track)
    return report


def check_splits(
    report: Report,
    splits: Sequence[Split],
    *,
    accept_part: bool = False,
    quick: bool = False,
    track: Track = untracked,
) -> Report:
    """Check the pairs of splits; findings are added to the report, which is returned."""
    for split in splits:
        is_exact = split.is_evaluation and not accept_part
        line, problems = check_pairs(
            split.listing,
            split.label_map,
            expected_count=split.count if is_exact else None,
            required=split.required,
            is_fitted=split.is_fitted,
            quick=quick,
            track=track,
        )
        if split.count and not is_exact and len(split.listing.pairs) != split.count:
            line += f" ({split.count} published)"
        prefix = f"{split.name}: " if split.name else ""
        found = [line] if split.listing.pairs else []
        report.found += [prefix + text for text in (*found, *split.listing.notes)]
        report.problems += [prefix + problem for problem in problems]
    return report


def check_coco(
    annotations: Path,
    images: Path,
    *,
    quick: bool = False,
    name: str = COCO.name,
    track: Track = untracked,
) -> Report:
    """Check COCO's instance annotations, and that the images that they list exist."""
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
    report.problems += check_images(paths, quick=quick, track=track)
    if not quick and importlib.util.find_spec("pycocotools"):
        report.problems += _mask_problems(content, annotations)
    return report


def check_cutouts(
    img_dir: Path,
    mask_dir: Path | None = None,
    *,
    quick: bool = False,
    name: str = "cut-outs",
    track: Track = untracked,
) -> Report:
    """Check a folder of cut-outs: all that `CutoutFolder` would refuse."""
    listing = list_cutouts(img_dir, mask_dir)
    report = Report(name, img_dir, is_missing=not img_dir.is_dir())
    report.remedy = "Save objects as PNG with alpha, or give images and masks of the same stem."
    report.found += [f"{len(listing.pairs)} cut-outs", *listing.notes]
    report.problems += listing.problems
    if not quick:
        pairs = track(listing.pairs, total=len(listing.pairs))
        report.problems += fault_summary(list(cutout_faults(pairs)))
    return report


def _mask_problems(content: dict[str, list[dict]], annotations: Path) -> list[str]:
    """One sentence on the masks that cannot be read, if any, and one on absent objects."""
    try:
        instances = instances_by_image(content, annotations)
    except ValueError as error:
        return [str(error)]
    faults, without = [], 0
    for image in content["images"]:
        for entry in instances[image["id"]]:
            origin = f"annotation {entry['id']}"
            size = (image["height"], image["width"])
            try:
                without += encode_mask(entry["segmentation"], *size, origin=origin) is None
            except ValueError as error:
                faults.append(str(error))
    problems = []
    if faults:
        listed = shorten(faults, 5, separator="; ")
        problems.append(f"{len(faults)} masks in {annotations} that cannot be read: {listed}")
    if without and without == len(content["annotations"]):
        problems.append(f"none of the {without} annotations in {annotations} has a mask")
    return problems


def check_weights(root: Path, *, quick: bool = False) -> Report:
    """Check the checkpoint files in `weights/` below the data root."""
    folder = root / "weights"
    remedy = (
        "Put the checkpoints that configs load in weights/; any mmsegmentation checkpoint serves: "
        "https://github.com/open-mmlab/mmsegmentation/blob/main/docs/en/model_zoo.md"
    )
    by_stem = files_by_stem(folder, (".pth", ".pt")) if folder.is_dir() else {}
    files = [path for paths in by_stem.values() for path in paths]
    problems = [fault for path in files if (fault := check_checkpoint(path, quick=quick))]
    names = [path.name for path in files]
    return Report("weights", folder, names, problems, remedy, is_missing=not files)


def check_checkpoint(path: Path, *, quick: bool = False) -> str | None:
    """Return what is wrong with a checkpoint file, or None; its content is never executed."""
    if path.stat().st_size == 0:
        return f"{path} is empty; fetch it again"
    if not zipfile.is_zipfile(path):
        # torch < 1.6 wrote plain pickles, which hold no checksum; so do cut-off archives.
        with path.open("rb") as file:
            is_archive = file.read(2) == b"PK"
        return f"{path} is cut off; fetch it again" if is_archive else None
    if quick:
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        return f"{path} is damaged ({error}); fetch it again"
    return f"{path} is damaged at {damaged}; fetch it again" if damaged else None
