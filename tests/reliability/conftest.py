"""Inputs of all commands that write files."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("mmseg")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("rosbags")

TESTS = Path(__file__).parents[1]
for room in ("commands", "datasets", "ros", "perception"):
    sys.path.append(str(TESTS / room))

import writers  # noqa: E402


@pytest.fixture(scope="session")
def inputs(tmp_path_factory) -> writers.Inputs:
    import bag_doubles
    from prepared_sets import sources_of
    from tiny_job import write_job, write_weights

    from ood_seg.startup import prepare

    prepare()
    folder = tmp_path_factory.mktemp("inputs")
    config = write_job(folder)
    training = folder / "training.py"
    text = config.read_text().replace("max_iters=4", "max_iters=60")
    text = text.replace("interval=2", "interval=5")
    hooks = 'custom_hooks = [dict(type="RandomStateHook")]\n'
    stream = 'train_dataloader["sampler"] = dict(type="StreamSampler")\n'
    seeded = (
        'train_dataloader["dataset"] = dict('
        'type="SeededSamples", dataset=train_dataloader["dataset"])\n'
    )
    training.write_text(text + hooks + stream + seeded)
    weights = write_weights(config, folder / "weights.pth")
    onnx, maps = folder / "model.onnx", folder / "maps"
    for command in (
        ["export-onnx", config, weights, onnx],
        ["test", config, weights, "--sets", "anomalies", "--out", maps, "--work-dir", folder / "w"],
    ):
        done = writers.run([sys.executable, "-m", "ood_seg", *map(str, command)])
        assert done.returncode == 0, done.stderr
    write_informative_maps(maps / "anomalies", folder / "masks")
    images = folder / "many"
    images.mkdir()
    rng = np.random.default_rng(0)
    pixels = [rng.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(writers.CLIP_FRAMES)]
    for index in range(writers.IMAGES):
        cv2.imwrite(str(images / f"{index:02}.png"), pixels[index])
    clip = folder / "clip.avi"
    writer = cv2.VideoWriter(str(clip), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for frame in pixels:
        writer.write(frame)
    writer.release()
    bag = bag_doubles.camera_bag(folder / "bag", pixels[: writers.BAG_FRAMES], storage="mcap")
    name = "fs_static_v2"
    archives, _ = sources_of(name, folder / "archives")
    return writers.Inputs(
        *(config, training, weights, onnx, images, clip, bag),
        *(maps / "anomalies", folder / "masks", tuple(archives), name),
    )


def write_informative_maps(maps: Path, masks: Path) -> None:
    """Replace the random network's scores by ones that rise with the anomalies."""
    rng = np.random.default_rng(0)
    for path in maps.glob("*.npy"):
        mask = cv2.imread(str(masks / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
        np.save(path, rng.normal(mask == 1, 1.0).astype(np.float32))
