"""`write_demo_data`: the drawn datasets in the layouts in which the real ones are published."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ood_seg.demo.coco import categories, draw_image, encode_mask
from ood_seg.demo.scenes import draw_scene
from ood_seg.io.files import write_image, write_text
from ood_seg.labels import ANOMALY, IGNORE, KNOWN, OUTLIER

MANIFEST = "demo_data.json"
# Raise it when the drawing changes, so that data on disk are drawn again.
DRAWING_VERSION = 2
# Road Anomaly writes anomalies as 2, and its frames come in several sizes.
ROAD_ANOMALY_VALUE = 2
FRAME_SCALES = ((1.0, 1.0), (1.125, 1.0), (1.0, 1.125))


@dataclass(frozen=True)
class DemoDataSize:
    """How much is drawn: scenes of each dataset, COCO images, height and width of the scenes."""

    train: int = 240
    val: int = 30
    coco: int = 160
    road_anomaly: int = 30
    fishyscapes: int = 30
    height: int = 160
    width: int = 320

    @property
    def images(self) -> int:
        """Number of images in all."""
        return self.train + self.val + self.coco + self.road_anomaly + self.fishyscapes


def write_demo_data(
    root: str | Path, seed: int = 0, size: DemoDataSize | None = None, *, advance=lambda: None
) -> bool:
    """Draw all datasets below `root`, unless they are there already.

    ```
    root/cityscapes/{leftImg8bit,gtFine}/{train,val}/demo/
    root/coco/train/  root/coco/annotations/instances.json
    root/road_anomaly/frame_list.json  root/road_anomaly/frames/
    root/fishyscapes/images/  root/fishyscapes/labels_masks/
    root/demo_data.json
    ```

    They are drawn in a temporary folder beside `root`, which takes its place when complete.

    Args:
        root: folder to write; replaced if it holds demo data of other parameters.
        seed: the same seed and size give the same bytes.
        size: how much to draw.
        advance: called without arguments after each image, for a progress bar.

    Returns:
        Whether anything was drawn.

    Raises:
        ValueError: `root` holds something that is not demo data.
    """
    root, size = Path(root), size or DemoDataSize()
    manifest = {"drawing": DRAWING_VERSION, "seed": seed, **asdict(size)}
    if _manifest_in(root) == manifest:
        return False
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as folder:
        drawn = Path(folder) / "data"
        for _ in _write_datasets(drawn, seed, size):
            advance()
        write_text(drawn / MANIFEST, json.dumps(manifest))
        if root.exists():
            shutil.rmtree(root)
        os.replace(drawn, root)
    return True


def _manifest_in(root: Path) -> dict | None:
    """What the folder was drawn with; None where it is missing or empty."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return None
    try:
        return json.loads((root / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{root} holds no demo data ({MANIFEST} is missing or unreadable); "
            "give another folder or remove it"
        ) from error


def _write_datasets(root: Path, seed: int, size: DemoDataSize) -> Iterator[None]:
    """Write image after image."""
    shape = size.height, size.width
    yield from _write_cityscapes(root / "cityscapes", "train", size.train, shape, (seed, 0))
    yield from _write_cityscapes(root / "cityscapes", "val", size.val, shape, (seed, 1))
    yield from _write_coco(root / "coco", size.coco, (seed, 2))
    yield from _write_road_anomaly(root / "road_anomaly", size.road_anomaly, shape, (seed, 3))
    for index in range(size.fishyscapes):
        scene = _anomalous_scene(shape, (seed, 4, index), ego_hood=True)
        write_image(root / f"fishyscapes/images/{index}.png", scene.image)
        mask = evaluation_mask(scene.labels)
        write_image(root / f"fishyscapes/labels_masks/{index}.png", mask)
        yield


def _write_cityscapes(folder: Path, split: str, count: int, size, seed) -> Iterator[None]:
    for index in range(count):
        scene, stem = draw_scene(np.random.default_rng((*seed, index)), size), f"demo_{index:06d}"
        image = folder / f"leftImg8bit/{split}/demo/{stem}_000019_leftImg8bit.png"
        labels = folder / f"gtFine/{split}/demo/{stem}_000019_gtFine_labelTrainIds.png"
        write_image(image, scene.image)
        write_image(labels, scene.labels)
        yield


def _write_coco(folder: Path, count: int, seed) -> Iterator[None]:
    """Images and their annotations, polygons and run lengths in turn."""
    images: list[dict] = []
    annotations: list[dict] = []
    for index in range(1, count + 1):
        image, objects = draw_image(np.random.default_rng((*seed, index)))
        name, (height, width) = f"{index:012d}.jpg", image.shape[:2]
        write_image(folder / "train" / name, image)
        images.append({"id": index, "file_name": name, "height": height, "width": width})
        for category, mask in objects:
            number = len(annotations) + 1
            fields = {"id": number, "image_id": index, "category_id": category}
            annotations.append({**fields, **encode_mask(mask, as_polygon=number % 2 == 0)})
        yield
    content = {"images": images, "annotations": annotations, "categories": categories()}
    write_text(folder / "annotations" / "instances.json", json.dumps(content))


def _write_road_anomaly(folder: Path, count: int, size, seed) -> Iterator[None]:
    names = []
    for index in range(count):
        scales = FRAME_SCALES[index % len(FRAME_SCALES)]
        frame_size = tuple(round(edge * scale) for edge, scale in zip(size, scales, strict=True))
        scene = _anomalous_scene(frame_size, (*seed, index), ego_hood=False)
        stem = f"demo{index:03d}_{'_'.join(scene.anomalies)}"
        write_image(folder / f"frames/{stem}.jpg", scene.image)
        mask = evaluation_mask(scene.labels) * ROAD_ANOMALY_VALUE
        write_image(folder / f"frames/{stem}.labels/labels_semantic.png", mask)
        names.append(f"{stem}.jpg")
        yield
    write_text(folder / "frame_list.json", json.dumps(names))


def evaluation_mask(labels: np.ndarray) -> np.ndarray:
    """Training labels (H, W) as an evaluation mask: 0 known, 1 anomaly, 255 ignore."""
    return np.select([labels == OUTLIER, labels == IGNORE], [ANOMALY, IGNORE], KNOWN).astype(
        np.uint8
    )


def _anomalous_scene(size, seed, *, ego_hood: bool):
    rng = np.random.default_rng(seed)
    return draw_scene(rng, size, anomalies=int(rng.integers(1, 4)), ego_hood=ego_hood)
