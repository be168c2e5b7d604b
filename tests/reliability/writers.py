"""Every command that writes files, on tiny inputs, and what its outputs must be."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

CLIP_FRAMES = 60
BAG_FRAMES = 20
IMAGES = 40


@dataclass(frozen=True)
class Inputs:
    """What the commands read; made once."""

    config: Path
    training: Path
    weights: Path
    onnx: Path
    images: Path
    clip: Path
    bag: Path
    maps: Path
    masks: Path
    archives: tuple[Path, ...]
    dataset: str


@dataclass(frozen=True)
class Writer:
    """A command that writes below one folder.

    Attributes:
        arguments: of `ood-seg`, from the inputs and the folder.
        resume: further arguments with which it is started after a kill.
        products: patterns of the files that must be there at the end.
    """

    arguments: Callable[[Inputs, Path], list]
    products: tuple[str, ...]
    resume: tuple[str, ...] = ()

    def command(self, inputs: Inputs, out: Path, *, resuming: bool = False) -> list[str]:
        words = [*self.arguments(inputs, out), *(self.resume if resuming else ())]
        return [sys.executable, "-m", "ood_seg", *map(str, words)]


WRITERS = {
    "train": Writer(
        lambda i, out: ["train", i.training, "--work-dir", out],
        ("iter_*.pth", "last_checkpoint"),
        ("--resume",),
    ),
    "test": Writer(
        lambda i, out: ["test", i.config, i.weights, "--work-dir", out, "--out", out / "maps"],
        ("metrics.json", "maps/anomalies/*.npy"),
    ),
    "fit": Writer(
        lambda i, out: [
            *("fit", i.config, i.weights, "--work-dir", out / "work"),
            *("--data", "street", "--methods", "sml", "mahalanobis", "--file", out / "tiny.stats"),
        ],
        ("tiny.stats",),
    ),
    "benchmark": Writer(
        lambda i, out: [
            *("benchmark", i.config, i.weights, "--work-dir", out / "work", "--out", out),
            *("--scores", "max-softmax", "energy"),
        ],
        ("benchmark.json", "benchmark.md", "benchmark.csv"),
    ),
    "evaluate": Writer(
        lambda i, out: ["evaluate", i.maps, i.masks, "--out", out],
        ("evaluation.json", "*.html"),
    ),
    "calibrate": Writer(
        lambda i, out: [
            *("calibrate", i.maps, i.masks, "--score", "Energy"),
            *("--file", out / "calibration.json", "--overwrite"),
        ],
        ("calibration.json",),
    ),
    "export-onnx": Writer(
        lambda i, out: ["export-onnx", i.config, i.weights, out / "model.onnx"],
        ("model.onnx", "model.json"),
    ),
    "infer folder": Writer(
        lambda i, out: [
            *("infer", "--onnx", i.onnx, i.images, "--out", out, "--json", out / "r.jsonl"),
            *("--save", "mask", "labels", "overlay", "--save-scores", "npy"),
            *("--operating-point", "-1"),
        ],
        ("r.jsonl", "*_mask.png", "*_overlay.png", "*.npy"),
        ("--resume",),
    ),
    "infer video": Writer(
        lambda i, out: ["infer", "--onnx", i.onnx, i.clip, "--video-out", out / "clip.mp4"],
        ("clip.mp4",),
    ),
    "infer bag": Writer(
        lambda i, out: ["infer", "--onnx", i.onnx, i.bag, "--out", out / "bag"],
        ("bag/metadata.yaml",),
    ),
    "prepare-data": Writer(
        lambda i, out: [
            "prepare-data", i.dataset, *i.archives, "--out", out / i.dataset, "--partial",
        ],
        ("*/*",),
    ),
}  # fmt: skip


def run(command: list[str], **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def finished_files(out: Path) -> list[Path]:
    """Files under final names; hidden ones are unfinished."""
    return sorted(
        path
        for path in out.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(out).parts)
    )


def check_whole(path: Path) -> None:
    """Raise where a file is not whole; logs, which grow line by line, are not looked at."""
    content = path.read_bytes()
    match path.suffix:
        case ".json":
            # mmengine's record of a run grows by lines, whatever its name.
            if "vis_data" not in path.parts:
                json.loads(content)
        case ".jsonl":
            lines = content.split(b"\n")
            if lines[-1] == b"":
                lines.pop()
            # Only the last line may be cut; `--resume` removes it.
            for line in lines[:-1]:
                json.loads(line)
        case ".png" | ".jpg":
            assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) is not None
        case ".npy":
            np.load(path)
        case ".pth" | ".stats":
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None
        case ".onnx":
            import onnx

            onnx.checker.check_model(str(path))
        case ".mp4":
            assert frame_count(path) == CLIP_FRAMES
        case ".yaml" if path.name == "metadata.yaml":
            assert bag_message_count(path.parent) > BAG_FRAMES
        case ".html":
            assert content.rstrip().endswith(b"</html>")
        case ".csv" | ".md" | ".svg":
            assert content.endswith((b"\n", b"</svg>"))


def frame_count(path: Path) -> int:
    capture = cv2.VideoCapture(str(path))
    count = 0
    while capture.grab():
        count += 1
    return count


def bag_message_count(folder: Path) -> int:
    from rosbags.rosbag2 import Reader

    with Reader(folder) as reader:
        return sum(1 for _ in reader.messages())


def comparable(path: Path) -> object:
    """What must not depend on when and how often a command was started; None where all may."""
    match path.suffix:
        case ".npy":
            return np.load(path).tobytes()
        case ".png" | ".jpg":
            return path.read_bytes()
        case ".pth":
            return _tensors(torch.load(path, weights_only=False)["state_dict"])
        case ".stats":
            return path.read_bytes()
        case ".mp4":
            return frame_count(path)
        case ".yaml" if path.name == "metadata.yaml":
            return bag_message_count(path.parent)
        case ".jsonl":
            return sorted(json.loads(line)["name"] for line in path.open())
    return None


def _tensors(state: dict) -> list[tuple[str, bytes]]:
    return [(name, value.numpy().tobytes()) for name, value in state.items()]
