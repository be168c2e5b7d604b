"""Miniature archives of every set that `prepare-data` knows, and short ways to run it."""

from __future__ import annotations

import io
import json

import numpy as np
import trees
from PIL import Image

from ood_seg.commands import main
from ood_seg.datasets.setup.catalog import PUBLISHED_DATASETS

BY_NAME = {dataset.name: dataset for dataset in PUBLISHED_DATASETS}
PREPARABLE = [name for name, dataset in BY_NAME.items() if dataset.files]


def prepare(name, *sources, out, options=("--partial",)):
    return main(["prepare-data", name, *map(str, sources), "--out", str(out), *options])


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def pixels(path):
    return np.asarray(Image.open(path))


def png(array):
    file = io.BytesIO()
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def sources_of(name, tmp_path):
    """Archives of a set as published, in miniature; and the files that must come out."""
    tree, archive = tmp_path / "tree", tmp_path / "archives"
    if name == "cityscapes":
        trees.cityscapes_ids(tree)
        parts = [
            trees.zipped(archive / f"{part}.zip", tree / part, prefix=f"{part}/")
            for part in ("leftImg8bit", "gtFine")
        ]
        place, stem = "train/aachen", "aachen_000000_000019"
        labels = {f"gtFine/{place}/{stem}_gtFine_label{kind}.png" for kind in ("Ids", "TrainIds")}
        return parts, labels | {f"leftImg8bit/{place}/{stem}_leftImg8bit.png"}
    if name.startswith("fs_static"):
        version = name[-1]
        trees.static_overlays(tree / "overlays", count=2)
        trees.static_images(tree / "city", count=2)
        stems = [f"fs_val_v{version}/{n:04d}_frankfurt_000001_{n:06d}" for n in (0, 1)]
        overlays = trees.zipped(archive / f"fs_val_v{version}.zip", tree / "overlays")
        written = {f"{stem}_{kind}.png" for stem in stems for kind in ("labels", "rgb")}
        return [overlays, trees.zipped(archive / "left.zip", tree / "city")], written
    if name == "fs_lost_and_found":
        trees.lost_and_found(tree)
        labels = trees.zipped(archive / "labels.zip", tree / "fishyscapes_lostandfound")
        trees.image(tree / "leftImg8bit" / "test" / "a" / "a_000000_000001_leftImg8bit.png")
        images = trees.zipped(
            archive / "leftImg8bit.zip", tree / "leftImg8bit", prefix="leftImg8bit/"
        )
        return [labels, images], {f for f in files(tree) if "/a/" not in f}
    if name == "coco":
        coco(tree)
        packed = trees.zipped(archive / "train2017.zip", tree / "train2017", prefix="train2017/")
        notes = trees.zipped(archive / "notes.zip", tree / "annotations", prefix="annotations/")
        return [packed, notes], files(tree) | {"annotations/outliers_train2017.json"}
    if name in ("cifar10", "tiny_imagenet", "dtd"):
        packed = trees.tarred(archive / f"{name}.tar.xz", trees.image_level(name, tree))
        return [packed], {file for file in files(tree) if not file.endswith("boxes.txt")}
    builders = {
        "road_anomaly": trees.road_anomaly,
        "lost_and_found": trees.lost_and_found_native,
        "smiyc_road_anomaly21": trees.smiyc,
        "smiyc_road_obstacle21": lambda root: trees.smiyc(root, suffix=".webp"),
        "street_hazards": trees.street_hazards,
    }
    builders[name](tree)
    if name == "street_hazards":
        packed = trees.tarred(tmp_path / "streethazards_test.tar", tree)
    else:
        packed = trees.zipped(archive / "a.zip", tree, prefix="dataset_X/")
    unneeded = ("_color.png", "instanceIds.png")
    return [packed], {file for file in files(tree) if not file.endswith(unneeded)}


def coco(root, names=None):
    """Write four images: a dog, a dog and a car, a dog in a small image, nothing."""
    sizes = [(480, 500), (480, 500), (479, 500), (480, 500)]
    images, annotations = [], []
    for index, (height, width) in enumerate(sizes, start=1):
        name = names[index - 1] if names else f"{index:012d}.jpg"
        images.append({"id": index, "file_name": name, "height": height, "width": width})
        trees.image(root / "train2017" / f"{index:012d}.jpg", (height, width))
    box = [[10, 10, 90, 10, 90, 90, 10, 90]]
    for image_id, category in ((1, 18), (2, 18), (2, 3), (3, 18)):
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": category,
                "segmentation": box,
            }
        )
    categories = [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}]
    others = ("person", "bicycle", "motorcycle", "bus", "truck", "traffic light", "stop sign")
    categories += [{"id": 100 + index, "name": name} for index, name in enumerate(others)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path = root / "annotations" / "instances_train2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return root
