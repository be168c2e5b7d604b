"""Write drawn scenes and objects to disk in the layouts in which the real data are published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ood_seg.demo.coco import categories, draw_picture, encode_instance
from ood_seg.demo.scenes import Scene, draw_scene
from ood_seg.labels import ANOMALY, IGNORE, KNOWN, OUTLIER

# Road Anomaly writes anomalies as 2, and its frames come in several sizes.
ROAD_ANOMALY_VALUE = 2
FRAME_SCALES = ((1.0, 1.0), (1.125, 1.0), (1.0, 1.125))
Size = tuple[int, int]
Advance = Callable[[], None]


def write_cityscapes(
    folder: Path, split: str, count: int, size: Size, seed: tuple[int, ...], advance: Advance
) -> None:
    """`leftImg8bit/SPLIT/demo/*` and `gtFine/SPLIT/demo/*_gtFine_labelTrainIds.png`."""
    for index in range(count):
        scene = draw_scene(np.random.default_rng((*seed, index)), size)
        stem = f"demo_{index:06d}_000019"
        save_image(folder / f"leftImg8bit/{split}/demo/{stem}_leftImg8bit.png", scene.image)
        labels = folder / f"gtFine/{split}/demo/{stem}_gtFine_labelTrainIds.png"
        save_image(labels, scene.labels)
        advance()


def write_coco(folder: Path, count: int, seed: tuple[int, ...], advance: Advance) -> None:
    """`train/*.jpg` and `annotations/instances.json`, polygons and run lengths in turn."""
    images, annotations = [], []
    for index in range(1, count + 1):
        picture, instances = draw_picture(np.random.default_rng((*seed, index)))
        name = f"{index:012d}.jpg"
        save_image(folder / "train" / name, picture)
        height, width = picture.shape[:2]
        images.append({"id": index, "file_name": name, "height": height, "width": width})
        for instance in instances:
            identity = len(annotations) + 1
            annotations.append(
                {
                    "id": identity,
                    "image_id": index,
                    "category_id": instance.category_id,
                    **encode_instance(instance, as_polygon=identity % 2 == 0),
                }
            )
        advance()
    content = {"images": images, "annotations": annotations, "categories": categories()}
    save_json(folder / "annotations" / "instances.json", content)


def write_road_anomaly(
    folder: Path, count: int, size: Size, seed: tuple[int, ...], advance: Advance
) -> None:
    """`frame_list.json`, `frames/NAME.jpg`, `frames/NAME.labels/labels_semantic.png`."""
    names = []
    for index in range(count):
        scale = FRAME_SCALES[index % len(FRAME_SCALES)]
        frame_size = tuple(round(edge * factor) for edge, factor in zip(size, scale, strict=True))
        scene = _anomalous_scene(frame_size, (*seed, index), ego_hood=False)
        name = f"demo{index:03d}_{'_'.join(scene.anomalies)}.jpg"
        save_image(folder / "frames" / name, scene.image)
        mask = evaluation_mask(scene.labels) * ROAD_ANOMALY_VALUE
        labels = folder / "frames" / f"{Path(name).stem}.labels" / "labels_semantic.png"
        save_image(labels, mask)
        names.append(name)
        advance()
    save_json(folder / "frame_list.json", names)


def write_folder_pair(
    folder: Path, count: int, size: Size, seed: tuple[int, ...], advance: Advance
) -> None:
    """`images/N.png` and `labels_masks/N.png` with Fishyscapes' 0, 1 and 255 on the hood."""
    for index in range(count):
        scene = _anomalous_scene(size, (*seed, index), ego_hood=True)
        save_image(folder / "images" / f"{index}.png", scene.image)
        save_image(folder / "labels_masks" / f"{index}.png", evaluation_mask(scene.labels))
        advance()


def evaluation_mask(labels: np.ndarray) -> np.ndarray:
    """Training labels (H, W) as an evaluation mask: 0 known, 1 anomaly, 255 ignore."""
    mask = np.full(labels.shape, KNOWN, np.uint8)
    mask[labels == OUTLIER] = ANOMALY
    mask[labels == IGNORE] = IGNORE
    return mask


def save_image(path: Path, image: np.ndarray) -> None:
    """Write an image; the ending decides the format.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else []
    done, data = cv2.imencode(path.suffix, image, quality)
    if not done:
        raise OSError(f"cannot encode {path}")
    path.write_bytes(data.tobytes())


def save_json(path: Path, content) -> None:
    """Write JSON, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _anomalous_scene(size: Size, seed: tuple[int, ...], *, ego_hood: bool) -> Scene:
    rng = np.random.default_rng(seed)
    return draw_scene(rng, size, anomalies=int(rng.integers(1, 4)), ego_hood=ego_hood)
