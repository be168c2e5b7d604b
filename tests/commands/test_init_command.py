"""`ood-seg init`: a project of own data, from masks in a palette of its own to an ONNX file."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ood_seg.commands import main
from ood_seg.config_files import load_config

PALETTE = {
    "road": (128, 64, 128),
    "sky": (70, 130, 180),
    "car": (0, 0, 142),
    "tree": (107, 142, 35),
    "person": (220, 20, 60),
    "sign": (255, 255, 0),
    "grass": (10, 200, 100),
}
CLASSES = ["{}=#{:02x}{:02x}{:02x}".format(name, *colour) for name, colour in PALETTE.items()]
HEIGHT, WIDTH, COUNT = 64, 96, 8


def labels(index: int) -> np.ndarray:
    """Stripes of all seven classes."""
    return np.repeat((np.arange(HEIGHT) // 8 + index) % 7, WIDTH).reshape(HEIGHT, WIDTH)


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Images and masks in colour, whose first two rows have a colour of no class."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    colours = np.array(list(PALETTE.values()))
    for index in range(COUNT):
        mask = colours[labels(index)].astype(np.uint8)
        noise = rng.integers(-20, 20, mask.shape)
        image = np.clip(mask.astype(int) + noise, 0, 255).astype(np.uint8)
        mask[:2] = 0
        for kind, pixels, suffix in (("images", image, ".jpg"), ("masks", mask, "_mask.png")):
            path = tmp_path / "data" / kind / f"scene{index}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return Path("data")


def init(*arguments: str) -> int:
    return main(["init", "mine", "--data", "data", *arguments])


def test_values_are_listed_and_nothing_is_written(data, capsys):
    assert init() == 2
    captured = capsys.readouterr()
    assert "#000000" in captured.out
    assert "3.12%" in captured.out  # 2 of 64 rows
    assert "--classes NAME='#" in captured.err
    named = re.findall("NAME='(#[0-9a-f]+)'", captured.err)
    assert named == sorted(named)
    assert init("--classes", *CLASSES) == 2
    assert "#000000 (3.12%)" in capsys.readouterr().err
    assert os.listdir() == ["data"]


def test_the_project(data, capsys):
    options = ["--ignore", "#000000", "--val-share", "0.25", "--json-summary", "end.json"]
    assert init("--classes", *CLASSES, *options) == 0
    assert sorted(os.listdir("mine")) == [
        "classes.txt",
        "config.py",
        "labels",
        "train.txt",
        "val.txt",
    ]
    label = np.array(Image.open("mine/labels/scene3.png"))
    np.testing.assert_array_equal(label[2:], labels(3)[2:])
    assert (label[:2] == 255).all()
    parts = [Path(f"mine/{part}.txt").read_text().split() for part in ("train", "val")]
    assert [len(part) for part in parts] == [6, 2]
    printed = capsys.readouterr().out
    for command in ("train mine/config.py", "test work_dirs/mine/iter_4000.pth", "export-onnx"):
        assert f"ood-seg {command}" in printed
    numbers = json.loads(Path("end.json").read_text())["numbers"]
    assert (numbers["images"], numbers["train"], numbers["val"]) == (8, 6, 2)
    assert numbers["shares"]["#000000"] == pytest.approx(2 / 64)
    # Nothing is overwritten.
    assert init("--classes", *CLASSES, "--ignore", "others") == 2
    assert "mine exists" in capsys.readouterr().err
    # The class file gives the same classes.
    assert main(["init", "again", "--data", "data", "--classes", "mine/classes.txt",
                 "--ignore", "others", "--val-share", "0.25"]) == 0  # fmt: skip
    for name in ("train.txt", "val.txt", "classes.txt"):
        assert Path("again", name).read_text() == Path("mine", name).read_text()


def test_masks_that_are_label_images_stay_where_they_are(data):
    for index in range(COUNT):
        Path(f"data/masks/scene{index}_mask.png").unlink()
        Image.fromarray(labels(index).astype(np.uint8)).save(f"data/masks/scene{index}.png")
    assert init("--classes", *PALETTE) == 0
    assert sorted(os.listdir("mine")) == ["classes.txt", "config.py", "train.txt", "val.txt"]
    pytest.importorskip("mmseg")
    cfg = load_config("mine/config.py")
    prefix = cfg.train_dataloader.dataset.dataset.data_prefix
    assert prefix.seg_map_path == str(Path("data/masks").resolve())
    assert cfg.model.decode_head.num_classes == 7


def test_a_write_that_fails_leaves_nothing(data, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ood_seg.datasets.setup.own_project.own_config", full)
    assert init("--classes", *CLASSES, "--ignore", "others") == 2
    assert os.listdir() == ["data"]


def test_the_network_of_another_config(data, job):
    pytest.importorskip("mmseg")
    options = ["--ignore", "others", "--from", str(job.config)]
    assert init("--classes", *CLASSES, *options) == 0
    cfg = load_config("mine/config.py")
    assert cfg.model.backbone.type == "UNet"
    assert cfg.model.decode_head.num_classes == 7
    assert cfg.model.data_preprocessor["size"] == (64, 96)
    assert list(cfg.test_dataloader) == ["val"]
    assert cfg.train_cfg.max_iters == 4  # the schedule of that config
    assert "_delete_" not in str(cfg.to_dict())


def test_another_kind_of_model_is_refused(data, tmp_path, capsys):
    pytest.importorskip("mmseg")
    (tmp_path / "other.py").write_text('model = dict(type="MaskFormer")\n', encoding="utf-8")
    assert init("--classes", *CLASSES, "--ignore", "others", "--from", "other.py") == 2
    assert "'MaskFormer'" in capsys.readouterr().err
    assert not Path("mine").exists()


@pytest.mark.slow
def test_own_data_end_to_end(data, job):
    """Train, test, export and use; on a tiny network, so that it takes seconds."""
    pytest.importorskip("onnxruntime")
    options = ["--ignore", "others", "--from", str(job.config)]
    assert init("--classes", *CLASSES, *options) == 0
    options = ["--cfg-options", "train_cfg.max_iters=4", "train_cfg.val_interval=4"]
    assert main(["train", "mine/config.py", "--work-dir", "work_dirs/mine", *options]) == 0
    checkpoint = "work_dirs/mine/iter_4.pth"
    assert main(["test", checkpoint, "--json-summary", "test.json"]) == 0
    summary = json.loads(Path("test.json").read_text())
    assert summary["outputs"] == [str(Path("work_dirs/mine/metrics.json").resolve())]
    assert 0 <= summary["numbers"]["val"]["mIoU"] <= 100
    assert main(["export-onnx", checkpoint, "mine.onnx", "--size", "64x96"]) == 0
    assert main(["infer", "data/images/scene0.jpg", "--onnx", "mine.onnx", "--save", "labels"]) == 0
    found = np.array(Image.open("runs/infer/1/scene0_labels.png"))
    assert found.shape == (HEIGHT, WIDTH)
    assert found.max() < 7
