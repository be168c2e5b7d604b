"""The written demo data: layouts, values, COCO masks, and when they are drawn again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ood_seg.demo.coco import draw_image, encode_mask
from ood_seg.demo.data import DemoDataSize, evaluation_mask, write_demo_data

SMALL = DemoDataSize(train=2, val=1, coco=4, road_anomaly=3, fishyscapes=1, height=64, width=128)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "data"
    assert write_demo_data(root, 0, SMALL)
    return root


def digest(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    content = [(str(path.relative_to(root)), path.read_bytes()) for path in files]
    return hashlib.sha256(repr(content).encode()).hexdigest()


def test_the_same_seed_writes_the_same_bytes(data, tmp_path):
    write_demo_data(tmp_path / "again", 0, SMALL)
    write_demo_data(tmp_path / "other", 1, SMALL)
    assert digest(tmp_path / "again") == digest(data)
    assert digest(tmp_path / "other") != digest(data)


def test_present_data_are_left_alone_and_other_parameters_replace_them(tmp_path):
    root, calls = tmp_path / "data", []
    assert write_demo_data(root, 0, SMALL, advance=lambda: calls.append(1))
    assert len(calls) == SMALL.images
    before = digest(root)
    assert not write_demo_data(root, 0, SMALL)
    assert write_demo_data(root, 1, SMALL)
    assert digest(root) != before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_folder_with_other_content_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=str(tmp_path)):
        write_demo_data(tmp_path, 0, SMALL)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_an_interrupted_run_leaves_nothing_behind(tmp_path):
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_demo_data(tmp_path / "data", 0, SMALL, advance=stop)
    assert list(tmp_path.iterdir()) == []


def test_cityscapes_tree(data):
    for split, count in (("train", SMALL.train), ("val", SMALL.val)):
        images = sorted((data / f"cityscapes/leftImg8bit/{split}").rglob("*_leftImg8bit.png"))
        assert len(images) == count
        for path in images:
            name = path.name.replace("leftImg8bit", "gtFine_labelTrainIds")
            labels = read(data / f"cityscapes/gtFine/{split}/demo" / name)
            assert labels.shape == read(path).shape[:2] == (64, 128)
            assert set(np.unique(labels)) <= {*range(19), 255}


def test_road_anomaly_tree_has_frames_of_several_sizes(data):
    root, shapes = data / "road_anomaly", set()
    names = json.loads((root / "frame_list.json").read_text())
    assert len(names) == SMALL.road_anomaly
    for name in names:
        mask = read(root / "frames" / f"{Path(name).stem}.labels" / "labels_semantic.png")
        assert mask.shape == read(root / "frames" / name).shape[:2]
        assert set(np.unique(mask)) == {0, 2}
        shapes.add(mask.shape)
    assert len(shapes) > 1


def test_fishyscapes_masks_hold_ignored_pixels(data):
    for index in range(SMALL.fishyscapes):
        mask = read(data / f"fishyscapes/labels_masks/{index}.png")
        assert mask.shape == read(data / f"fishyscapes/images/{index}.png").shape[:2]
        assert set(np.unique(mask)) == {0, 1, 255}


def test_evaluation_mask():
    labels = np.array([[0, 18], [254, 255]], np.uint8)
    np.testing.assert_array_equal(evaluation_mask(labels), [[0, 0], [1, 255]])


def test_run_lengths_and_polygons_give_back_the_drawn_mask():
    masks = pytest.importorskip("pycocotools.mask")
    kinds = set()
    for seed in range(20):
        _, objects = draw_image(np.random.default_rng(seed))
        for _, mask in objects:
            exact = encode_mask(mask, as_polygon=False)["segmentation"]
            decoded = masks.decode(masks.frPyObjects(exact, *mask.shape))
            np.testing.assert_array_equal(decoded, mask)
            outline = encode_mask(mask, as_polygon=True)["segmentation"]
            kinds.add(type(outline))
            if isinstance(outline, list):
                parts = masks.frPyObjects(outline, *mask.shape)
                decoded = masks.decode(masks.merge(parts)) > 0
                overlap = (decoded & mask).sum() / (decoded | mask).sum()
                assert overlap > 0.97
    assert kinds == {list, dict}


def test_pycocotools_reads_the_annotations(data, capsys):
    coco_module = pytest.importorskip("pycocotools.coco")
    coco = coco_module.COCO(str(data / "coco/annotations/instances.json"))
    capsys.readouterr()
    assert len(coco.imgs) == SMALL.coco
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        name = coco.imgs[annotation["image_id"]]["file_name"]
        assert mask.shape == read(data / "coco/train" / name).shape[:2]
        assert mask.sum() == pytest.approx(annotation["area"], rel=0.03, abs=6)
        left, top, width, height = annotation["bbox"]
        assert mask[top : top + height, left : left + width].sum() == mask.sum()


def read(path: Path) -> np.ndarray:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None, path
    return image
