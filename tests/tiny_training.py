"""Configs of tiny training runs on the drawn street scenes."""

from __future__ import annotations

from pathlib import Path

import tiny
from mmengine.config import ConfigDict


def train_set(root: Path, *, probability: float = 1.0) -> dict:
    """Config of the training data: random crops with pasted objects."""
    objects = {
        "type": "CocoObjects",
        "ann_file": str(root / "coco/annotations/instances.json"),
        "img_dir": str(root / "coco/train"),
        "min_area": 100,
    }
    return {
        "type": "CityscapesDataset",
        "data_root": str(root / "cityscapes"),
        "data_prefix": {"img_path": "leftImg8bit/train", "seg_map_path": "gtFine/train"},
        "pipeline": [
            {"type": "LoadCheckedImage"},
            {"type": "LoadCheckedLabels", "num_classes": 19},
            {"type": "RandomCrop", "crop_size": (48, 64)},
            {"type": "RandomFlip", "prob": 0.5},
            {
                "type": "PasteOutliers",
                "source": objects,
                "size_range": (8, 30),
                "probability": probability,
            },
            {"type": "PackSegInputs"},
        ],
    }


def road_anomaly_loader(root: Path) -> dict:
    """Config of the loader of the drawn Road Anomaly tree."""
    return {
        "batch_size": 1,
        "num_workers": 0,
        "sampler": {"type": "DefaultSampler", "shuffle": False},
        "dataset": {
            "type": "RoadAnomalyDataset",
            "data_root": str(root / "road_anomaly"),
            "expected_count": 3,
            "pipeline": [
                {"type": "LoadCheckedImage"},
                {"type": "LoadCheckedLabels"},
                {"type": "PackSegInputs"},
            ],
        },
    }


def runner_config(root: Path, work_dir: Path, *, iterations: int = 6, **changes) -> dict:
    """Config of a short training run under the balanced energy loss."""
    balanced = {
        "type": "BalancedEnergyLoss",
        "margin_in": -6.0,
        "margin_out": 0.0,
        "alpha": 2.0,
        "gamma": 1.0,
        "loss_weight": 0.1,
    }
    head = {"type": "EnergyHead", "losses": [balanced]}
    config = {
        "model": ConfigDict(tiny.model_config(19, energy_head=head)),
        "work_dir": str(work_dir),
        "default_scope": "mmseg",
        "experiment_name": "tiny",
        "randomness": {"seed": 3},
        "train_dataloader": {
            "batch_size": 2,
            "num_workers": 0,
            "sampler": {"type": "StreamSampler"},
            "dataset": {"type": "SeededSamples", "dataset": train_set(root)},
        },
        "train_cfg": {
            "type": "IterBasedTrainLoop",
            "max_iters": iterations,
            "val_interval": 10_000,
        },
        "optim_wrapper": {
            "type": "OptimWrapper",
            "optimizer": {"type": "Adam", "lr": 1e-2},
        },
        "param_scheduler": [
            {"type": "PolyLR", "power": 0.9, "begin": 0, "end": 6, "by_epoch": False}
        ],
        "default_hooks": {
            "checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 3},
            "sampler_seed": {"type": "DistSamplerSeedHook"},
        },
        "custom_hooks": [
            {"type": "RandomStateHook"},
            {"type": "OutlierPriorHook", "num_images": 8},
        ],
        "log_level": "WARNING",
    }
    return config | changes
