"""The calibrations beside the shipped configs, and what their thresholds give on other images.

    python benchmarks/calibrations.py make [CONFIG ...]
    python benchmarks/calibrations.py transfer [CONFIG ...] [--num-images 20]

`make` writes `configs/posthoc/CONFIG.calibration.json`, made on the config's
`calibration_dataloader`; scores of one network come from one pass. `transfer` prints the share of
known pixels above each threshold on the config's test sets: images of other cameras and cities
than those of the calibration. Data and weights are looked for in `$OOD_SEG_DATA`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

# Networks whose weights are public and scores that need no statistics.
CONFIGS = (
    "energy_fcn-erfnet_cityscapes",
    "max-logit_fcn-erfnet_cityscapes",
    "max-softmax_fcn-erfnet_cityscapes",
    "entropy_fcn-erfnet_cityscapes",
    "gen_fcn-erfnet_cityscapes",
    "ash-s_fcn-erfnet_cityscapes",
    "scale_fcn-erfnet_cityscapes",
    "energy_fcn-cgnet_cityscapes",
)
# Test sets of other sources than CamVid and BDD100K; pixels of anomalies do not count.
SETS = ("cityscapes_val", "kitti", "fs_static", "road_anomaly")


def by_network(names: Sequence[str]) -> list[dict]:
    """Configs by name, one dict for each network."""
    from ood_seg.config_files import load_config

    groups: dict[str, dict] = {}
    for name in names:
        cfg = load_config(name)
        groups.setdefault(cfg.load_from, {})[name] = cfg
    return list(groups.values())


def make(names: Sequence[str]) -> None:
    """Write the calibrations of these configs."""
    from ood_seg.comparison.calibrating import calibrate_scores
    from ood_seg.comparison.calibration_images import config_images
    from ood_seg.config_files import resolve_config

    for configs in by_network(names):
        images = config_images(next(iter(configs.values())), "calibration")
        for name, calibration in calibrate_scores(configs, images, on_image=shown).items():
            path = resolve_config(name).with_suffix(".calibration.json")
            # That of the file in the repository; made again, the file is the same.
            replace(calibration, commit=None).save(path)
            print(f"written: {path}")


def transfer(names: Sequence[str], num_images: int | None) -> None:
    """Print the share of flagged known pixels at each point on each set, in percent."""
    from ood_seg.calibration import Calibration
    from ood_seg.comparison.calibrating import scored_maps
    from ood_seg.comparison.calibration_images import config_images
    from ood_seg.config_files import calibration_beside, resolve_config

    for configs in by_network(names):
        files = {name: calibration_beside(resolve_config(name)) for name in configs}
        points = {
            name: Calibration.load(file).operating_points.values() for name, file in files.items()
        }
        for one in SETS:
            images = config_images(next(iter(configs.values())), one, num_images)
            rates: dict[str, list] = {name: [] for name in configs}
            for name, scores, labels in scored_maps(configs, images, on_image=shown):
                known = scores[labels == 0]
                rates[name].append([(known >= np.float32(p.threshold)).sum() for p in points[name]])
                rates[name][-1].append(known.size)
            for name, counts in rates.items():
                *flagged, total = np.sum(counts, 0)
                worst = np.max(np.array(counts)[:, :-1] / np.array(counts)[:, -1:], 0)
                shares = ", ".join(
                    f"{point.name} {100 * count / total:.2f} (worst image {100 * most:.1f})"
                    for point, count, most in zip(points[name], flagged, worst, strict=True)
                )
                print(f"{name} on {one}, {len(counts)} images: {shares}", flush=True)


START = time.perf_counter()


def shown(done: int, total: int) -> None:
    """Print the progress once in ten images."""
    if done % 10 == 0 or done == total:
        print(f"{done} of {total} images, {time.perf_counter() - START:.0f} s", flush=True)


def main() -> None:
    """Run as described above."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("make", "transfer"))
    parser.add_argument("configs", nargs="*", metavar="CONFIG", help="default: all shipped ones")
    parser.add_argument("--num-images", type=int, help="of each set, for `transfer`; default: all")
    args = parser.parse_args()
    names = [Path(name).stem for name in args.configs] or list(CONFIGS)
    make(names) if args.what == "make" else transfer(names, args.num_images)


if __name__ == "__main__":
    main()
