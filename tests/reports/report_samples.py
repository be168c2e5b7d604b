"""A small dataset with score maps on disk, and its evaluation in the schema of the reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIZE = (96, 192)


def write_maps(folder: Path, images: int, *, seed: int = 0, with_images: bool = True) -> list[dict]:
    """Score maps, masks and images of street-like scenes; their `images` entries."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    found = []
    for index in range(images):
        centre, radius = rng.integers((40, 30), (80, 160)), rng.integers(6, 18)
        mask = np.zeros(SIZE, np.uint8)
        mask[np.hypot(rows - centre[0], columns - centre[1]) < radius] = 1
        mask[-8:] = 255
        noise = cv2.GaussianBlur(rng.normal(size=SIZE).astype(np.float32), (0, 0), 3) * 8
        scores = (-8 + noise + (1 + index / 3) * (mask == 1)).astype(np.float32)
        image = np.full((*SIZE, 3), (180, 160, 140), np.uint8)
        image[rows > 40] = 90
        image[mask == 1] = (60, 90, 200)
        stem = folder / f"{index:03d}"
        np.save(f"{stem}.npy", scores)
        cv2.imwrite(f"{stem}_mask.png", mask)
        cv2.imwrite(f"{stem}.jpg", image)
        found.append(
            {
                "name": f"{index:03d}",
                **{k: int((mask == v).sum()) for k, v in (("known", 0), ("anomalous", 1))},
                "ignored": int((mask == 255).sum()),
                "auroc": 0.5 + index / (2 * images),
                "ap": (index + 1) / (images + 1),
                "fpr95": 1 - index / images,
                "scores": f"{stem}.npy",
                "ground_truth": f"{stem}_mask.png",
                "image": f"{stem}.jpg" if with_images else None,
            }
        )
    return found


def evaluation(images: list[dict], *, method: str = "energy", shift: float = 2.0) -> dict[str, Any]:
    """An evaluation with every section; its numbers are made up but fit together."""
    threshold = np.linspace(-6, 8, 141)[::-1]
    upper = np.array([_normal_tail(t) for t in threshold])
    tpr = np.array([_normal_tail(t - shift) for t in threshold])
    fpr, tpr = np.append(upper, 1.0), np.append(tpr, 1.0)
    known, anomalous = 9_950_000, 50_000
    precision = tpr * anomalous / np.maximum(tpr * anomalous + fpr * known, 1e-300)
    edges = np.linspace(-12, -2, 41)
    middle = (edges[1:] + edges[:-1]) / 2
    counts = [
        (total * 0.25 * np.exp(-((middle - mean) ** 2) / 2) / 2.5066).astype(int).tolist()
        for total, mean in ((known, -8), (anomalous, shift - 8))
    ]
    return {
        "schema": "ood_seg.evaluation/1",
        "method": method,
        "data_set": "drawn streets",
        "num_images": len(images),
        "pixels": {"known": known, "anomalous": anomalous, "ignored": 123_456},
        "protocol": {"name": "pooled", "description": "all pixels of all images together"},
        "mode": "exact",
        "seed": 7,
        "version": "0.1.0",
        "commit": "0123abc",
        "created": "2026-01-02T03:04:05+00:00",
        "metrics": {
            "auroc": _entry(0.5 + 0.2 * shift, 0.03),
            "ap": _entry(0.08 * shift, 0.05),
            "fpr95": _entry(0.8 - 0.21 * shift, 0.06),
            "best_f1": _entry(0.11 * shift, 0.04),
        },
        "best_f1_threshold": -4.75,
        "interval": {"level": 0.95, "samples": 1000, "unit": "images"},
        "curves": {
            "roc": {"fpr": fpr.tolist(), "tpr": tpr.tolist()},
            "pr": {"recall": tpr.tolist(), "precision": precision.tolist()},
        },
        "histogram": {"edges": edges.tolist(), "known": counts[0], "anomalous": counts[1]},
        "calibration": {
            "method": "platt",
            "ece_before": 0.3125,
            "ece_after": 0.0046,
            "reliability": {
                "confidence": [0.004, 0.1, 0.25, 0.5],
                "frequency": [0.004, 0.08, 0.3, 0.42],
                "weight": [0.99, 0.007, 0.002, 0.001],
            },
            "operating_points": [
                {
                    "name": "fpr 5%",
                    "threshold": -5.5,
                    "tpr": 0.61,
                    "fpr": 0.05,
                    "false_alarms_per_image": 3.25,
                    "guarantee": None,
                },
                {
                    "name": "conformal fpr 5%",
                    "threshold": -5.125,
                    "tpr": 0.53,
                    "fpr": 0.041,
                    "false_alarms_per_image": None,
                    "guarantee": "expected FPR of a new image at most 5 %",
                },
            ],
        },
        "components": {
            "track": "obstacle",
            "mean_f1": 0.1234,
            "siou": 0.2345,
            "ppv": 0.3456,
            "by_threshold": [
                {"threshold": 0.25, "tp": 1021, "fn": 12, "fp": 33, "f1": 0.9784},
                {"threshold": 0.5, "tp": 700, "fn": 333, "fp": 120, "f1": 0.7555},
                {"threshold": 0.75, "tp": 300, "fn": 733, "fp": 420, "f1": 0.3422},
            ],
            "by_size": [
                {"min_area": 10, "max_area": 100, "count": 3, "siou": 0.25, "found": 2},
                {"min_area": 100, "max_area": None, "count": 0, "siou": None, "found": 0},
            ],
        },
        "closed_set": {"miou": 0.7201, "open_iou": 0.6588},
        "images": images,
    }


def bare(images: list[dict]) -> dict[str, Any]:
    """An evaluation of a set without anomalies: no metric, no curve, no optional section."""
    full = evaluation(images)
    undefined = {"value": None, "bounds": None, "interval": None}
    return {
        **full,
        "pixels": {"known": 1000, "anomalous": 0, "ignored": 0},
        "metrics": dict.fromkeys(full["metrics"], undefined),
        "best_f1_threshold": None,
        "interval": None,
        "curves": {"roc": {"fpr": [], "tpr": []}, "pr": {"recall": [], "precision": []}},
        "histogram": {"edges": [0.0, 1.0], "known": [0], "anomalous": [0]},
        "calibration": None,
        "components": None,
        "closed_set": None,
    }


def _entry(value: float, half: float) -> dict[str, Any]:
    return {"value": value, "bounds": None, "interval": [value - half, value + half]}


def _normal_tail(x: float) -> float:
    from math import erfc

    return erfc(x / 2**0.5) / 2
