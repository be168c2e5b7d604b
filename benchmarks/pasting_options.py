"""Draw what the options of `PasteOutliers` do, side by side, and measure their CPU time.

    python benchmarks/pasting_options.py --out docs/images/pasting.jpg

Scene and objects are drawn by the code of `ood-seg demo`. The times are those of one object of 0.25
of the short side on a 1024x2048 scene, one thread.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ood_seg.datasets import CutoutFolder, PasteOutliers, ScenePieces
from ood_seg.demo.objects import OBJECT_KINDS, cut_out, draw_object
from ood_seg.demo.scenes import draw_scene
from ood_seg.io.files import write_image
from ood_seg.labels import OUTLIER

SIZE = (192, 384)
ROAD = {"placement": "road"}
NEAR = {**ROAD, "count": 1, "size_share": (0.4, 0.4)}
PIECES = {"source": ScenePieces()}
# Caption, options, and whether the panel shows the first object enlarged.
PANELS: list[tuple[str, dict[str, Any], bool]] = [
    ("no options", {"scale_range": (0.4, 1.2)}, False),
    ("placement='road'", {**ROAD, "scale_range": (0.4, 1.2)}, False),
    ("placement='sidewalk'", {"placement": "sidewalk", "scale_range": (0.4, 1.2)}, False),
    ("size_share=[(.012, .2), (.2, .6)]", {"size_share": [(0.012, 0.2), (0.2, 0.6)]}, False),
    ("size_by_distance=(.3, .6)", {**ROAD, "size_by_distance": (0.3, 0.6)}, False),
    ("source: ScenePieces", {**PIECES, "size_share": (0.15, 0.4)}, False),
    ("edges='hard'", NEAR, True),
    ("edges='feathered', feather=4", {**NEAR, "edges": "feathered", "feather": 4}, True),
    ("edges='poisson'", {**NEAR, "edges": "poisson"}, True),
    ("colour_transfer=0.7", {**NEAR, "colour_transfer": 0.7}, True),
    ("shadow=0.6", {**NEAR, "shadow": 0.6}, True),
    (
        "feathered, colours, shadow",
        {**NEAR, "edges": "feathered", "colour_transfer": 0.5, "shadow": 0.6},
        True,
    ),
]


def write_cutouts(folder: Path, rng: np.random.Generator) -> None:
    """Draw objects as PNG files with alpha."""
    for name, (_, shapes) in OBJECT_KINDS.items():
        patch, mask = cut_out(draw_object(shapes, 150, rng), 120)
        cutout = np.dstack([patch.astype(np.uint8), mask.astype(np.uint8) * 255])
        write_image(folder / f"{name}.png", cutout)


def panel(caption: str, image: np.ndarray, labels: np.ndarray, *, enlarged: bool) -> np.ndarray:
    """The scene, or the part of it around the object, below its caption."""
    if enlarged:
        rows, columns = np.nonzero(labels == OUTLIER)
        height, width = SIZE[0] // 2, SIZE[1] // 2
        top = int(np.clip((rows.min() + rows.max() - height) // 2, 0, SIZE[0] - height))
        left = int(np.clip((columns.min() + columns.max() - width) // 2, 0, SIZE[1] - width))
        part = image[top : top + height, left : left + width]
        image = cv2.resize(part, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    strip = np.full((30, SIZE[1], 3), 255, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(strip, caption, (6, 21), font, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return np.pad(np.vstack([strip, image]), ((0, 4), (2, 2), (0, 0)), constant_values=255)


def draw_panels(source: CutoutFolder, seed: int) -> np.ndarray:
    """All panels, three in a row."""
    scene = draw_scene(np.random.default_rng(seed), SIZE)
    panels = []
    for caption, options, enlarged in PANELS:
        transform = PasteOutliers(**{"source": source, "count": 4, "seed": seed, **options})
        results = {"img": scene.image, "gt_seg_map": scene.labels, "sample_idx": seed}
        results = transform(results)
        panels.append(panel(caption, results["img"], results["gt_seg_map"], enlarged=enlarged))
    return np.vstack([np.hstack(panels[i : i + 3]) for i in range(0, len(panels), 3)])


def print_times(source: CutoutFolder, repeats: int) -> None:
    """Print CPU milliseconds of an object for each option."""
    scene = draw_scene(np.random.default_rng(0), (1024, 2048))
    plain = {"size_share": (0.25, 0.25), "count": 1}
    choices: dict[str, dict[str, Any]] = {
        "none": {},
        "placement": ROAD,
        "size_by_distance": {**ROAD, "size_share": None, "size_by_distance": (0.25, 0.25)},
        "feathered": {"edges": "feathered"},
        "poisson": {"edges": "poisson"},
        "colour_transfer": {"colour_transfer": 0.5},
        "shadow": {"shadow": 0.5},
        "ScenePieces": PIECES,
    }
    print("| option | CPU ms an object |\n|---|---|")
    for name, options in choices.items():
        transform = PasteOutliers(**{"source": source, "seed": 0, **plain, **options})
        start = time.process_time()
        for index in range(repeats):
            transform({"img": scene.image, "gt_seg_map": scene.labels, "sample_idx": index})
        print(f"| {name} | {(time.process_time() - start) / repeats * 1e3:.1f} |", flush=True)


def main() -> None:
    """Write the figure and print the times."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=20, help="0 measures nothing")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_cutouts(Path(folder), np.random.default_rng(args.seed))
        source = CutoutFolder(folder, cache_mb=64)
        write_image(args.out, draw_panels(source, args.seed))
        print(f"wrote {args.out}")
        if args.repeats:
            print_times(source, args.repeats)


if __name__ == "__main__":
    main()
