"""`write_demo_data`: all drawn data sets of the demo, written once and recognised afterwards."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ood_seg.demo.layouts import (
    save_json,
    write_cityscapes,
    write_coco,
    write_folder_pair,
    write_road_anomaly,
)

MANIFEST = "demo_data.json"
# Raise it when the drawing changes, so that data on disk are drawn anew.
DRAWING_VERSION = 1


@dataclass(frozen=True)
class DemoDataSize:
    """How much is drawn: scenes of each set, COCO pictures, height and width of the scenes."""

    train: int = 240
    val: int = 30
    coco: int = 160
    road_anomaly: int = 30
    fishyscapes: int = 30
    height: int = 160
    width: int = 320

    @property
    def pictures(self) -> int:
        """Number of pictures in all."""
        return self.train + self.val + self.coco + self.road_anomaly + self.fishyscapes


def write_demo_data(
    root: str | Path,
    seed: int = 0,
    size: DemoDataSize | None = None,
    *,
    advance: Callable[[], None] = lambda: None,
) -> bool:
    """Draw all data sets below `root`, unless they are there already.

    ```
    root/cityscapes/{leftImg8bit,gtFine}/{train,val}/demo/
    root/coco/train/  root/coco/annotations/instances.json
    root/road_anomaly/frame_list.json  root/road_anomaly/frames/
    root/fishyscapes/images/  root/fishyscapes/labels_masks/
    root/demo_data.json
    ```

    The sets are drawn in a temporary folder beside `root`, which takes its place when complete.

    Args:
        root: folder to write; replaced if it holds demo data of other parameters.
        seed: the same seed and size give the same bytes.
        size: how much to draw.
        advance: called after each picture, for a progress bar.

    Returns:
        Whether anything was drawn.

    Raises:
        ValueError: `root` holds something that is not demo data.
    """
    root, size = Path(root), size or DemoDataSize()
    manifest = {"drawing": DRAWING_VERSION, "seed": seed, **asdict(size)}
    if _is_complete(root, manifest):
        return False
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as folder:
        drawn = Path(folder) / "data"
        _write_sets(drawn, seed, size, advance)
        save_json(drawn / MANIFEST, manifest)
        if root.exists():
            shutil.rmtree(root)
        os.replace(drawn, root)
    return True


def _is_complete(root: Path, manifest: dict) -> bool:
    """Whether `root` holds just these data; refuses folders with other content."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        return json.loads((root / MANIFEST).read_text()) == manifest
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{root} holds no demo data ({MANIFEST} is missing or unreadable); "
            "give another folder or remove it"
        ) from error


def _write_sets(root: Path, seed: int, size: DemoDataSize, advance: Callable[[], None]) -> None:
    scene = size.height, size.width
    write_cityscapes(root / "cityscapes", "train", size.train, scene, (seed, 0), advance)
    write_cityscapes(root / "cityscapes", "val", size.val, scene, (seed, 1), advance)
    write_coco(root / "coco", size.coco, (seed, 2), advance)
    write_road_anomaly(root / "road_anomaly", size.road_anomaly, scene, (seed, 3), advance)
    write_folder_pair(root / "fishyscapes", size.fishyscapes, scene, (seed, 4), advance)
