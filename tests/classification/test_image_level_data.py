"""Datasets of known classes: class folders, python batches, long tails."""

import os
import pickle
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("mmseg")
from mmengine.registry import init_default_scope
from small_images import class_folders, write_image

import ood_seg.register  # noqa: F401
from ood_seg.classification.cifar_batches import CifarBatchesDataset, read_batch
from ood_seg.classification.datasets import CIFAR10_CLASSES, ClassFolderDataset
from ood_seg.classification.long_tail import long_tailed_counts
from ood_seg.classification.transforms import CropPaddedAndFlip, LoadImageOfClass

init_default_scope("mmseg")
CLASSES = ("cat", "dog", "ship")
PACKED = [dict(type="LoadImageOfClass"), dict(type="PackImageOfClass")]


def folders(root, **options):
    return ClassFolderDataset(str(root), classes=CLASSES, **{"split": "train", **options})


def labels_of(dataset):
    return [dataset.get_data_info(n)["gt_label"] for n in range(len(dataset))]


# Long tails


def test_published_long_tails():
    cifar10 = long_tailed_counts(5000, 10, 0.01)
    assert cifar10 == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
    assert sum(cifar10) == 12406
    cifar100 = long_tailed_counts(500, 100, 0.01)
    assert (cifar100[0], cifar100[-1], sum(cifar100)) == (500, 5, 10847)
    assert long_tailed_counts(7, 3, 1) == [7, 7, 7]


@pytest.mark.parametrize("factor", [0, -0.1, 1.5, float("nan")])
def test_long_tail_factor_out_of_range(tmp_path, factor):
    with pytest.raises(ValueError, match=f"imbalance.*{factor}"):
        folders(class_folders(tmp_path), imbalance=factor)


def test_long_tail_takes_the_first_images_of_each_class(tmp_path):
    dataset = folders(class_folders(tmp_path), imbalance=0.25)
    assert Counter(labels_of(dataset)) == {0: 8, 1: 4, 2: 2}
    names = [Path(dataset.get_data_info(n)["img_path"]).name for n in range(8, 12)]
    assert names == ["0000.png", "0001.png", "0002.png", "0003.png"]


def test_long_tail_without_enough_images_names_the_class(tmp_path):
    class_folders(tmp_path, counts=[8, 8, 1])
    with pytest.raises(ValueError, match="ship has 1 of 2"):
        folders(tmp_path, imbalance=0.25)
    with pytest.raises(ValueError, match=r"imbalance 0\.01.*without an image"):
        folders(tmp_path, imbalance=0.01)


# Class folders


def test_held_out_images_are_the_others(tmp_path):
    class_folders(tmp_path)
    kept, held = (folders(tmp_path, holdout_every=4, held_out=flag) for flag in (False, True))
    paths = [{d.get_data_info(n)["img_path"] for n in range(len(d))} for d in (kept, held)]
    assert [len(part) for part in paths] == [18, 6]
    assert not paths[0] & paths[1]
    with pytest.raises(ValueError, match="held_out"):
        folders(tmp_path, held_out=True)
    with pytest.raises(ValueError, match=r"holdout_every.*1"):
        folders(tmp_path, holdout_every=1)


def test_an_empty_class_is_named(tmp_path):
    class_folders(tmp_path, counts=[2, 0, 2])
    with pytest.raises(ValueError, match="no image of dog"):
        folders(tmp_path)


def test_missing_and_foreign_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train.*prepare-data"):
        folders(tmp_path)
    class_folders(tmp_path, classes=("cat", "dog", "ship", "zebra"))
    with pytest.raises(ValueError, match="zebra"):
        folders(tmp_path)
    with pytest.raises(ValueError, match=r"split.*'val'"):
        folders(tmp_path, split="val")


def test_samples_are_packed(tmp_path):
    dataset = folders(class_folders(tmp_path), pipeline=PACKED)
    sample = dataset[9]
    assert sample["inputs"].shape == (3, 32, 32)
    assert int(sample["data_samples"].gt_label) == 1
    assert sample["data_samples"].split == "train"
    stored = cv2.imread(dataset.get_data_info(9)["img_path"]).transpose(2, 0, 1)
    np.testing.assert_array_equal(sample["inputs"].numpy(), stored)


def test_another_size_is_refused_or_resized(tmp_path):
    path = write_image(tmp_path / "large.png", seed=0, size=48)
    with pytest.raises(ValueError, match=r"large.png.*32x32.*48x48"):
        LoadImageOfClass(32)({"img_path": str(path)})
    result = LoadImageOfClass(16, resize=True)({"img_path": str(path)})
    assert result["ori_shape"] == (48, 48)
    blocks = cv2.imread(str(path)).reshape(16, 3, 16, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(result["img"], blocks, atol=1)


def test_grey_images_get_three_equal_channels(tmp_path):
    path = write_image(tmp_path / "grey.png", seed=0, grey=True)
    image = LoadImageOfClass(32)({"img_path": str(path)})["img"]
    assert image.shape == (32, 32, 3)
    assert (image == image[..., :1]).all()


def test_augmentation_shifts_by_at_most_the_padding():
    image = np.arange(1, 5 * 5 * 3 + 1, dtype=np.uint8).reshape(5, 5, 3)
    np.random.seed(0)
    shifts = set()
    for _ in range(300):
        result = CropPaddedAndFlip(1)({"img": image})["img"]
        assert result.shape == image.shape
        rows, columns = np.nonzero((result == image[2, 2]).all(axis=-1))
        shifts.add((int(rows[0]), int(columns[0])))
    assert shifts == {(y, x) for y in (1, 2, 3) for x in (1, 2, 3)}


# Python batches


def write_batches(root, *, classes=10, key="labels", number=20):
    random = np.random.default_rng(0)
    names = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]
    if key == "fine_labels":
        names = ["train", "test"]
    for name in names:
        content = {
            b"data": random.integers(0, 256, (number, 3072), dtype=np.uint8),
            key.encode(): [n % classes for n in range(number)],
        }
        (root / name).write_bytes(pickle.dumps(content))
    return root


def test_python_batches(tmp_path):
    write_batches(tmp_path)
    train = CifarBatchesDataset(str(tmp_path), split="train", pipeline=PACKED)
    test = CifarBatchesDataset(str(tmp_path), split="test")
    assert (len(train), len(test)) == (100, 20)
    assert train.metainfo["classes"] == CIFAR10_CLASSES
    assert Counter(labels_of(train)) == dict.fromkeys(range(10), 10)
    stored = pickle.loads((tmp_path / "data_batch_1").read_bytes())[b"data"][0]
    planes = stored.reshape(3, 32, 32)[::-1]  # red, green, blue -> BGR
    np.testing.assert_array_equal(train[0]["inputs"].numpy(), planes)


def test_cifar100_batches_and_their_long_tail(tmp_path):
    write_batches(tmp_path, classes=100, key="fine_labels", number=400)
    dataset = CifarBatchesDataset(str(tmp_path), version="cifar100", split="train", imbalance=0.5)
    counts = Counter(labels_of(dataset))
    assert (counts[0], counts[99]) == (4, 2)


class Harmful:
    def __reduce__(self):
        return (os.mkdir, ("harmed",))


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (Harmful(), r"names posix\.mkdir"),
        ([1, 2], "holds a list"),
        ({b"labels": [0]}, "'data' is missing"),
        ({b"data": np.zeros((2, 3072), np.uint8)}, "'labels' is missing"),
        ({b"data": np.zeros((2, 3072)), b"labels": [0, 1]}, "float64"),
        ({b"data": np.zeros((2, 768), np.uint8), b"labels": [0, 1]}, r"\(2, 768\)"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0]}, "1 labels"),
        ({b"data": np.zeros((1, 3072), np.uint8), b"labels": [10]}, r"labels are not all 0\.\.9"),
        ({b"data": np.array([[None] * 3072]), b"labels": [1]}, "object"),
    ],
)
def test_what_is_no_batch_is_refused(tmp_path, monkeypatch, content, named):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "test_batch"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=rf"test_batch is no python batch of cifar10.*{named}"):
        read_batch(path, "cifar10")
    assert not (tmp_path / "harmed").exists()


def test_damaged_and_missing_batches(tmp_path):
    write_batches(tmp_path)
    path = tmp_path / "test_batch"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="test_batch is no python batch"):
        read_batch(path, "cifar10")
    with pytest.raises(FileNotFoundError, match="absent"):
        read_batch(tmp_path / "absent", "cifar10")
    with pytest.raises(ValueError, match=r"version.*'mnist'"):
        CifarBatchesDataset(str(tmp_path), version="mnist", split="train")
