"""Sources of outlier images, and the stream of known and outlier images."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("mmseg")
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS
from small_images import class_folders, outlier_folder, write_image

import ood_seg.register  # noqa: F401
from ood_seg.classification.outlier_images import (
    ImageArrayDataset,
    ImageFolderDataset,
    NoiseDataset,
    TinyImageNetDataset,
    read_scood_list,
)
from ood_seg.classification.outlier_stream import KnownWithOutliers
from ood_seg.classification.tiny_imagenet_classes import (
    AUXILIARY_CLASSES,
    CIFAR_LIKE_CLASSES,
    TEST_CLASSES,
)
from ood_seg.labels import OUTLIER

init_default_scope("mmseg")
CLASSES = ("cat", "dog", "ship")
PACKED = [dict(type="LoadImageOfClass"), dict(type="PackImageOfClass")]


def labels_of(dataset):
    return [dataset.get_data_info(n)["gt_label"] for n in range(len(dataset))]


class Harmful:
    def __reduce__(self):
        return (os.mkdir, ("harmed",))


def test_folders_and_scood_lists(tmp_path):
    outlier_folder(tmp_path / "images" / "a")
    listed = tmp_path / "list.txt"
    listed.write_text("a/00.png {'sc_label': -1}\n\na/01.png {\"sc_label\": 3, 'x': 1}\n")
    everything = ImageFolderDataset(str(tmp_path / "images"), split="test")
    assert labels_of(everything) == [OUTLIER] * 6
    some = ImageFolderDataset(str(tmp_path / "images"), list_file=str(listed), split="test")
    assert labels_of(some) == [OUTLIER, 3]
    listed.write_text("a/99.png {'sc_label': -1}\n")
    with pytest.raises(FileNotFoundError, match=r"1 images.*99\.png"):
        ImageFolderDataset(str(tmp_path / "images"), list_file=str(listed), split="test")


@pytest.mark.parametrize("line", ["a.png", "a.png {'other': 1}", "../a.png {'sc_label': 1}", "a 3"])
def test_bad_lines_of_scood_lists(tmp_path, line):
    path = tmp_path / "list.txt"
    path.write_text(f"b.png {{'sc_label': 0}}\n{line}\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 2.*sc_label"):
        read_scood_list(path)


def test_arrays_of_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    np.save(tmp_path / "300K_random_images.npy", images)
    dataset = ImageArrayDataset(str(tmp_path), limit=3, split="train", pipeline=PACKED)
    assert len(dataset) == 3
    np.testing.assert_array_equal(
        dataset[2]["inputs"].numpy(), images[2, ..., ::-1].transpose(2, 0, 1)
    )
    with pytest.raises(ValueError, match=r"limit must be 1 to 5.*got 6"):
        ImageArrayDataset(str(tmp_path), limit=6, split="train")
    np.save(tmp_path / "other.npy", images.astype(np.float32))
    with pytest.raises(ValueError, match="uint8, got float32"):
        ImageArrayDataset(str(tmp_path), file="other.npy", split="train")
    np.save(tmp_path / "objects.npy", np.array([Harmful()]))
    with pytest.raises(ValueError, match=r"objects.npy is no .npy"):
        ImageArrayDataset(str(tmp_path), file="objects.npy", split="train")
    with pytest.raises(FileNotFoundError):
        ImageArrayDataset(str(tmp_path), file="absent.npy", split="train")


def test_noise_is_that_of_odin_and_repeats():
    for kind, mean, spread in (("uniform", 127.5, 73.6), ("gaussian", 127.5, 109.7)):
        dataset = NoiseDataset(kind=kind, number=40, split="test", pipeline=PACKED)
        images = np.stack([dataset[n]["inputs"].numpy() for n in range(40)]).astype(float)
        assert images.mean() == pytest.approx(mean, abs=1)
        assert images.std() == pytest.approx(spread, abs=1.5)
        assert not (images[0] == images[1]).all()
        np.testing.assert_array_equal(dataset[3]["inputs"].numpy(), images[3])
    with pytest.raises(ValueError, match=r"kind.*'pink'"):
        NoiseDataset(kind="pink", split="test")


def tiny_imagenet(root):
    lines = []
    for index, wnid in enumerate([*list(AUXILIARY_CLASSES), *list(TEST_CLASSES)]):
        write_image(root / "train" / wnid / "images" / f"{wnid}_0.JPEG", seed=index, size=64)
        write_image(root / "val" / "images" / f"val_{index}.JPEG", seed=500 + index, size=64)
        lines.append(f"val_{index}.JPEG\t{wnid}\t0\t0\t62\t62")
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    return root


def test_tiny_imagenet_of_the_two_splits_shares_no_class(tmp_path):
    root = tiny_imagenet(tmp_path)
    parts = {}
    for split, classes in (("train", AUXILIARY_CLASSES), ("test", TEST_CLASSES)):
        dataset = TinyImageNetDataset(str(root), split=split)
        assert len(dataset) == 2 * len(classes)
        parts[split] = {dataset.get_data_info(n)["img_path"] for n in range(len(dataset))}
        only = TinyImageNetDataset(str(root), split=split, folders=["val"])
        assert len(only) == len(classes)
    assert not parts["train"] & parts["test"]
    with pytest.raises(ValueError, match=r"folders.*'test'"):
        TinyImageNetDataset(str(root), split="test", folders=["test"])


# Last word of a name in `words.txt` that would be a class of CIFAR-10 or CIFAR-100, or one of its
# kinds; as used there for the classes of Tiny ImageNet.
CIFAR_TEXT = """
    airplane airliner plane automobile car wagon convertible limousine limo taxi van bird
    goose stork penguin albatross cat tabby deer gazelle dog shepherd retriever terrier
    Chihuahua poodle frog bullfrog horse ship boat lifeboat gondola truck apple orange lemon
    pear pomegranate goldfish ray shark trout baby bear beaver bed bee beetle ladybug
    bicycle bottle jug bowl boy bridge viaduct bus trolleybus butterfly camel can bucket
    castle caterpillar cattle ox bison chair chimpanzee orangutan baboon clock stopwatch
    cloud cockroach couch crab crocodile alligator cup espresso beaker dinosaur dolphin
    elephant flatfish forest fox girl hamster pig house barn thatch dwelling kangaroo koala
    keyboard keypad lamp lampshade mower leopard cougar lion lizard salamander lobster man
    maple motorcycle mountain alp cliff mouse mushroom oak acorn orchid otter palm pickup
    pine plain plate poppy porcupine possum rabbit raccoon panda road rocket projectile rose
    sea seashore lakeside seal dugong shrew skunk skyscraper snail slug snake constrictor
    spider tarantula widow web squirrel streetcar sunflower pepper table desk tank telephone
    pay-phone iPod television tiger tractor train tulip turtle wardrobe chest whale willow
    wolf woman worm
"""


def test_the_lists_of_tiny_imagenet_are_disjoint_and_hold_no_cifar_class():
    lists = [set(AUXILIARY_CLASSES), set(TEST_CLASSES), set(CIFAR_LIKE_CLASSES)]
    assert sum(map(len, lists)) == len(set.union(*lists)) == 200
    assert min(map(len, lists)) >= 25
    words = set(CIFAR_TEXT.split())
    for name in (*AUXILIARY_CLASSES.values(), *TEST_CLASSES.values()):
        assert name.split()[-1] not in words, name


def test_the_lists_agree_with_the_published_words():
    root = Path(os.environ.get("OOD_SEG_CACHE", "data_cache")) / "tiny-imagenet-200"
    if not (root / "words.txt").is_file():
        pytest.skip(f"real data not found at {root}")
    rows = [line.split("\t") for line in (root / "words.txt").read_text().splitlines()]
    words = {wnid: text.split(",")[0] for wnid, text in rows}
    wnids = set((root / "wnids.txt").read_text().split())
    assert wnids == {*AUXILIARY_CLASSES, *TEST_CLASSES, *CIFAR_LIKE_CLASSES}
    for wnid, name in {**AUXILIARY_CLASSES, **TEST_CLASSES}.items():
        assert words[wnid] == name


# Streams of both kinds


def stream_of(tmp_path, **options):
    known = dict(
        type="ClassFolderDataset",
        data_root=str(class_folders(tmp_path / "known", counts=[3, 2, 2])),
        classes=CLASSES,
        split="train",
        pipeline=PACKED,
    )
    outliers = dict(
        type="ImageFolderDataset",
        data_root=str(outlier_folder(tmp_path / "outliers", 5)),
        split="train",
        pipeline=PACKED,
    )
    known.update(options.pop("known", {}))
    outliers.update(options.pop("outliers", {}))
    config = dict(type="KnownWithOutliers", known=known, outliers=outliers, seed=3)
    return DATASETS.build({**config, **options})


def test_every_batch_has_both_kinds_and_no_source_is_cut(tmp_path):
    stream = stream_of(tmp_path, num_known=2, num_outliers=3)
    assert len(stream) == 4 * 5  # seven known images in batches of two
    samples = [stream[n]["data_samples"] for n in range(35 * 5)]
    kinds = [int(one.gt_label) == OUTLIER for one in samples]
    assert kinds == [False, False, True, True, True] * 35
    for is_outlier, size, rounds in ((False, 7, 10), (True, 5, 21)):
        paths = [s.img_path for s, kind in zip(samples, kinds, strict=True) if kind == is_outlier]
        epochs = [paths[start : start + size] for start in range(0, rounds * size, size)]
        assert len(paths) == rounds * size
        assert all(len(set(epoch)) == size for epoch in epochs)  # each image once an epoch
        assert len({tuple(epoch) for epoch in epochs}) > rounds / 2  # in another order
    assert stream[1]["data_samples"].img_path == stream[1]["data_samples"].img_path


def test_a_stream_refuses_test_splits_and_overlap(tmp_path):
    class_folders(tmp_path / "known", split="test")
    for part in ("known", "outliers"):
        with pytest.raises(ValueError, match=f"{part}.*split.*test"):
            stream_of(tmp_path, **{part: {"split": "test"}})
    source = next((tmp_path / "known" / "train" / "dog").iterdir())
    # Another name and format, the same pixels.
    cv2.imwrite(str(tmp_path / "outliers" / "same.bmp"), cv2.imread(str(source)))
    with pytest.raises(ValueError, match=r"1 auxiliary outliers.*same\.bmp = .*dog"):
        stream_of(tmp_path)
    (tmp_path / "outliers" / "same.bmp").unlink()
    with pytest.raises(ValueError, match="num_known"):
        stream_of(tmp_path, num_known=0)
    assert isinstance(stream_of(tmp_path), KnownWithOutliers)
