"""COCO objects: mask decoding, the rules that drop instances, and broken input."""

from __future__ import annotations

import json
import pickle
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mmseg")
pytest.importorskip("pycocotools")

from mmseg.registry import TRANSFORMS

from ood_seg.datasets.coco_masks import decode_mask, encode_mask, expand_counts
from ood_seg.datasets.outlier_sources import CITYSCAPES_LIKE_CATEGORIES, CocoObjects

CATEGORIES = {1: "person", 7: "train", 17: "cat", 18: "dog", 44: "bottle"}
HEIGHT, WIDTH = 20, 30


def box(left: int, top: int, right: int, bottom: int) -> list[list[float]]:
    """A polygon that covers the pixels from (left, top) up to and without (right, bottom)."""
    return [[left, top, right, top, right, bottom, left, bottom]]


def drawn_image(image_id: int) -> np.ndarray:
    """RGB; red holds the column, green the row, blue the id."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([columns, rows, np.full_like(rows, image_id)], axis=-1).astype(np.uint8)


class Tree:
    """A miniature COCO tree on disk; instances are `(image_id, category, segmentation)`."""

    def __init__(self, folder: Path) -> None:
        self.img_dir = folder / "train2017"
        self.ann_file = folder / "instances_train2017.json"
        self.img_dir.mkdir()

    def write(self, instances: list[tuple], num_images: int = 1, **changes: Any) -> Tree:
        content = {
            "categories": [{"id": key, "name": name} for key, name in CATEGORIES.items()],
            "images": [
                {"id": i, "file_name": f"{i:012d}.png", "height": HEIGHT, "width": WIDTH}
                for i in range(1, num_images + 1)
            ],
            "annotations": [
                {
                    "id": number,
                    "image_id": image_id,
                    "category_id": next(k for k, v in CATEGORIES.items() if v == name),
                    "segmentation": segmentation,
                    "iscrowd": int(bool(crowd)),
                }
                for number, (image_id, name, segmentation, *crowd) in enumerate(instances, 1)
            ],
        }
        self.ann_file.write_text(json.dumps({**content, **changes}))
        for image in content["images"]:
            Image.fromarray(drawn_image(image["id"])).save(self.img_dir / image["file_name"])
        return self

    def source(self, **arguments: Any) -> CocoObjects:
        return CocoObjects(self.ann_file, self.img_dir, **{"min_area": 1, **arguments})


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


# Mask decoding -------------------------------------------------------------------------------


def test_run_lengths_go_down_the_columns_and_start_with_background() -> None:
    # Columns of three: (0, 1, 1), (1, 0, 0), (0, 0, 1), (1, 1, 1).
    expected = np.array([[0, 1, 0, 1], [1, 0, 0, 1], [1, 0, 1, 1]], dtype=bool)
    encoded = encode_mask({"size": [3, 4], "counts": [1, 3, 4, 4]}, 3, 4, origin="test")
    np.testing.assert_array_equal(decode_mask(encoded["counts"], 3, 4), expected)


def test_a_mask_that_begins_with_the_object_has_a_first_run_of_zero() -> None:
    encoded = encode_mask({"size": [2, 2], "counts": [0, 1, 3]}, 2, 2, origin="test")
    np.testing.assert_array_equal(
        decode_mask(encoded["counts"], 2, 2), [[True, False], [False] * 2]
    )


def test_compressed_counts_are_expanded() -> None:
    # Below 16 a number is one character of value 48 + number; the fourth is stored as 4 - 3.
    assert expand_counts("1341") == [1, 3, 4, 4]
    # 100 = 4 + 3 * 32: "4" with bit 5 set (48 + 36), then 48 + 3. -2 is 30: 48 + 30.
    assert expand_counts("T35" + "T3" + "N") == [100, 5, 100, 3]


def test_compressed_counts_equal_plain_ones() -> None:
    from pycocotools import mask as run_lengths

    mask = np.random.default_rng(0).random((37, 53)) < 0.3
    mask[:, 20:40] = False
    encoded = run_lengths.encode(np.asfortranarray(mask))
    text = {"size": [37, 53], "counts": encoded["counts"].decode()}
    plain = {"size": [37, 53], "counts": expand_counts(text["counts"])}
    for segmentation in (text, plain):
        counts = encode_mask(segmentation, 37, 53, origin="test")["counts"]
        np.testing.assert_array_equal(decode_mask(counts, 37, 53), mask)


@pytest.mark.parametrize(
    "counts",
    [[], "", [1, 3], [1, 3, 9], [20, -8], "zz", "1\x00341", None, 12, ["12"], [12.5], [[12]], {}],
)
def test_run_lengths_that_do_not_fill_the_image_are_an_error(counts: Any) -> None:
    with pytest.raises(ValueError, match=r"annotation 5: run lengths .* 12 pixels"):
        encode_mask({"size": [3, 4], "counts": counts}, 3, 4, origin="annotation 5")


def test_run_lengths_of_another_size_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"annotation 5: .*\[4, 3\].*\[3, 4\]"):
        encode_mask({"size": [4, 3], "counts": [12]}, 3, 4, origin="annotation 5")
    with pytest.raises(ValueError, match="neither polygons nor run lengths"):
        encode_mask({"size": [3, 4]}, 3, 4, origin="annotation 5")
    text = {"size": ["3", "4"], "counts": [1, 3, 8]}
    assert encode_mask(text, 3, 4, origin="test") is not None


def test_masks_without_a_pixel_are_none() -> None:
    for segmentation in (None, [], [[1, 1, 2, 2]], {"size": [3, 4], "counts": [12]}):
        assert encode_mask(segmentation, 3, 4, origin="test") is None


@pytest.mark.parametrize(
    "segmentation",
    [
        [1, 1, 4, 1, 4, 3, 1, 3],  # one flat polygon
        [[1, 1], [4, 1], [4, 3], [1, 3]],  # one polygon of pairs
        [[[1, 1], [4, 1], [4, 3], [1, 3]]],  # polygons of pairs
        [[1, 1, 4, 1, 4, 3, 1, 3], [0, 0, 1, 1]],  # a line beside it
    ],
)
def test_other_ways_to_write_a_polygon(segmentation: Any) -> None:
    expected = np.zeros((5, 6), bool)
    expected[1:3, 1:4] = True
    encoded = encode_mask(segmentation, 5, 6, origin="test")
    np.testing.assert_array_equal(decode_mask(encoded["counts"], 5, 6), expected)


@pytest.mark.parametrize(
    "value", [2.1e8, -61, float("nan"), float("inf"), 10**400, "7", None, [1], {}]
)
def test_coordinates_far_outside_are_an_error(value: Any) -> None:
    polygon = [0, 0, 5, 0, 5, value, 0, 4]
    with pytest.raises(ValueError, match=r"annotation 5: polygon coordinates .* 60 pixels, got"):
        encode_mask([polygon], 5, 6, origin="annotation 5")
    near = [[-60, 0, 60, 0, 60, 60, 0, 4]]
    assert encode_mask(near, 5, 6, origin="test") is not None


# Objects -------------------------------------------------------------------------------------


def test_an_object_is_cropped_to_its_mask_and_is_bgr(tree: Tree) -> None:
    found = tree.write([(1, "dog", box(4, 2, 10, 7))]).source()[0]
    assert found.mask.shape == (5, 6)
    assert found.mask.dtype == bool
    assert found.mask.all()
    np.testing.assert_array_equal(found.image, drawn_image(1)[2:7, 4:10, ::-1])
    assert found.image.flags.c_contiguous


def test_polygons_of_one_instance_are_united(tree: Tree) -> None:
    found = tree.write([(1, "dog", box(0, 0, 4, 4) + box(8, 0, 12, 4))]).source()[0]
    expected = np.ones((4, 12), bool)
    expected[:, 4:8] = False
    np.testing.assert_array_equal(found.mask, expected)


def test_default_excludes_what_cityscapes_has_train_included(tree: Tree) -> None:
    source = tree.write(
        [
            (1, "person", box(0, 0, 9, 9)),
            (1, "train", box(0, 0, 9, 9)),
            (1, "cat", box(5, 5, 9, 9)),
        ]
    ).source()
    assert [record.categories for record in source.records] == [("cat",)]
    assert source.dropped == {"excluded category": 2}
    assert "train" in CITYSCAPES_LIKE_CATEGORIES
    assert len(tree.source(exclude=["person"])) == 2
    assert len(tree.source(exclude=())) == 3


def test_area_is_counted_on_the_mask(tree: Tree) -> None:
    tree.write([(1, "cat", box(0, 0, 4, 5)), (1, "dog", box(0, 0, 4, 4))])
    source = tree.source(min_area=20)
    assert [record.categories for record in source.records] == [("cat",)]
    assert source.dropped == {"mask below min_area=20": 1}


def test_crowds_and_empty_masks_are_skipped(tree: Tree) -> None:
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    tree.write([(1, "cat", crowd, 1), (1, "cat", [[0, 0, 3, 3]]), (1, "dog", box(0, 0, 4, 4))])
    source = tree.source(min_area=0)
    assert [record.categories for record in source.records] == [("dog",)]
    assert source.dropped == {"crowd region": 1, "without a mask": 1}


def test_union_pastes_all_of_an_image_and_drops_images_with_excluded_ones(tree: Tree) -> None:
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, 2, HEIGHT * WIDTH - 2]}
    tree.write(
        [
            (1, "cat", box(6, 6, 9, 9)),
            (1, "dog", crowd, 1),
            (2, "cat", box(0, 0, 9, 9)),
            (2, "train", box(10, 0, 19, 9)),
        ],
        num_images=3,
    )
    source = tree.source(union=True)
    assert len(source) == 1
    assert source.records[0].categories == ("cat", "dog")
    assert source.dropped == {"image with an excluded category": 2}
    expected = np.zeros((9, 9), bool)
    expected[6:, 6:] = True
    expected[:2, 0] = True
    np.testing.assert_array_equal(source[0].mask, expected)
    # The area is that of the union.
    assert len(tree.source(union=True, min_area=11)) == 1
    with pytest.raises(ValueError, match="2 mask below min_area=12"):
        tree.source(union=True, min_area=12)
    # Excluded instances alone are left out where their image may stay.
    kept = tree.source(union=True, exclude_images_with=())
    assert [record.categories for record in kept.records] == [("cat", "dog"), ("cat",)]


def test_images_can_be_dropped_in_single_object_mode(tree: Tree) -> None:
    tree.write(
        [(1, "cat", box(0, 0, 9, 9)), (1, "bottle", box(0, 0, 9, 9)), (2, "cat", box(0, 0, 9, 9))],
        num_images=2,
    )
    source = tree.source(exclude_images_with=["bottle"])
    assert [record.image_id for record in source.records] == [2]


def test_small_images_can_be_dropped(tree: Tree) -> None:
    tree.write([(1, "cat", box(0, 0, 9, 9))])
    assert len(tree.source(min_image_size=HEIGHT)) == 1
    with pytest.raises(ValueError, match=f"1 image below min_image_size={HEIGHT + 1}"):
        tree.source(min_image_size=HEIGHT + 1)


def test_holdout_is_disjoint_complete_and_independent_of_other_rules(tree: Tree) -> None:
    tree.write(
        [(i, "person" if i == 3 else "cat", box(0, 0, i, 9)) for i in range(1, 12)]
        + [(5, "dog", box(0, 0, 9, 9))],
        num_images=11,
    )
    parts = [tree.source(holdout_every=5, holdout=holdout) for holdout in (False, True)]
    ids = [{record.image_id for record in part.records} for part in parts]
    assert ids == [{1, 2, 4, 6, 7, 8, 9, 11}, {5, 10}]
    assert sum(map(len, parts)) == len(tree.source())
    # Images that a rule drops still count.
    assert {
        r.image_id for r in tree.source(holdout_every=5, holdout=True, min_area=80).records
    } == {
        5,
        10,
    }
    with pytest.raises(ValueError, match="holdout_every=n"):
        tree.source(holdout=True)
    with pytest.raises(ValueError, match=r"holdout_every .*1"):
        tree.source(holdout_every=1)


def test_sampling_follows_the_generator_and_reaches_every_object(tree: Tree) -> None:
    source = tree.write([(1, "cat", box(0, 0, width, 5)) for width in (3, 4, 5)]).source()
    widths = [
        [source.sample(rng).mask.shape[1] for _ in range(30)]
        for rng in (np.random.default_rng(1), np.random.default_rng(1))
    ]
    assert widths[0] == widths[1]
    assert set(widths[0]) == {3, 4, 5}
    with pytest.raises(IndexError, match="object 3 of a source with 3 objects"):
        source[3]


def test_cache_is_bounded_and_gives_the_same_objects(tree: Tree) -> None:
    tree.write([(1, "cat", box(0, 0, width, 5)) for width in (3, 4, 5)])
    plain, cached = tree.source(), tree.source(cache_size=2)
    for index in (0, 1, 0, 2, 1, 0):
        for expected, found in zip(plain[index], cached[index], strict=True):
            np.testing.assert_array_equal(found, expected)
        assert len(cached._cache) <= 2
    assert cached[0] is cached[0]
    assert not cached[0].image.flags.writeable


def test_it_is_built_from_a_config_and_survives_pickling(tree: Tree) -> None:
    tree.write([(1, "cat", box(0, 0, 9, 9))])
    config = {"type": "CocoObjects", "ann_file": str(tree.ann_file), "img_dir": str(tree.img_dir)}
    source = TRANSFORMS.build({**config, "min_area": 10, "cache_size": 3})
    source.load(0)
    copy = pickle.loads(pickle.dumps(source))
    assert len(copy._cache) == 0
    np.testing.assert_array_equal(copy[0].image, source[0].image)
    assert "1 objects" in repr(copy)


def test_loading_prints_nothing(tree: Tree, capfd: pytest.CaptureFixture) -> None:
    tree.write([(1, "cat", box(0, 0, 9, 9))]).source().load(0)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


# Bad input -----------------------------------------------------------------------------------


def test_unknown_category_lists_similar_ones(tree: Tree) -> None:
    tree.write([(1, "cat", box(0, 0, 9, 9))])
    with pytest.raises(ValueError, match=r"'Bottel'.*does not have \(close to it: \['bottle'\]\)"):
        tree.source(exclude=["Bottel"])
    with pytest.raises(ValueError, match=r"exclude_images_with .*'xyz'.*bottle"):
        tree.source(exclude_images_with=["xyz"])
    with pytest.raises(ValueError, match=r"exclude .*'cat'"):
        tree.source(exclude="cat")


def test_default_exclusion_does_not_pass_over_longer_names(tree: Tree) -> None:
    categories = [{"id": 17, "name": "cat"}, {"id": 3, "name": "car_(automobile)"}]
    tree.write([(1, "cat", box(0, 0, 9, 9))], categories=categories)
    with pytest.raises(ValueError, match=r"close to it: \['car_\(automobile\)'\]"):
        tree.source()
    assert len(tree.source(exclude=["car_(automobile)"])) == 1


def test_no_usable_object_reports_how_many_each_rule_dropped(tree: Tree) -> None:
    tree.write(
        [(1, "train", box(0, 0, 9, 9)), (1, "cat", box(0, 0, 3, 3)), (1, "dog", box(0, 0, 2, 2))]
    )
    message = "3 instances, dropped: 1 excluded category; 2 mask below min_area=10"
    with pytest.raises(ValueError, match=message):
        tree.source(min_area=10)
    with pytest.raises(ValueError, match="0 instances, dropped: none"):
        tree.write([]).source()


@pytest.mark.parametrize("name", ["../secret.png", "a/../../b.png", "/etc/passwd", "..\\b.png", ""])
def test_file_names_must_stay_inside_the_folder(tree: Tree, name: str) -> None:
    images = [{"id": 1, "file_name": name, "height": HEIGHT, "width": WIDTH}]
    tree.write([(1, "cat", box(0, 0, 9, 9))], images=images)
    with pytest.raises(ValueError, match="img_dir"):
        tree.source()


def test_accents_may_be_stored_otherwise_on_disk(tree: Tree) -> None:
    tree.write([(1, "cat", box(2, 2, 9, 9))])
    content = json.loads(tree.ann_file.read_text())
    for listed, stored in (("NFC", "NFD"), ("NFD", "NFC")):
        for image in tree.img_dir.iterdir():
            image.rename(tree.img_dir / unicodedata.normalize(stored, "Zürich é.png"))
        content["images"][0]["file_name"] = unicodedata.normalize(listed, "Zürich é.png")
        tree.ann_file.write_text(json.dumps(content))
        assert tree.source().load(0).mask.shape == (7, 7)


def test_missing_files_are_named(tree: Tree, tmp_path: Path) -> None:
    tree.write([(1, "cat", box(0, 0, 9, 9))])
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json not found"):
        CocoObjects(tmp_path / "nowhere.json", tree.img_dir)
    with pytest.raises(FileNotFoundError, match="nowhere is no folder"):
        CocoObjects(tree.ann_file, tmp_path / "nowhere", min_area=1)
    source = tree.source()
    (tree.img_dir / "000000000001.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"000000000001\.png does not exist"):
        source.load(0)
    with pytest.raises(FileNotFoundError, match=r"1 images .* 000000000001\.png"):
        tree.source()


def test_unreadable_images_are_named(tree: Tree) -> None:
    source = tree.write([(1, "cat", box(0, 0, 9, 9))]).source()
    path = tree.img_dir / "000000000001.png"
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"000000000001\.png: truncated"):
        source.load(0)
    path.write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"000000000001\.png: not an image"):
        source.load(0)
    Image.fromarray(drawn_image(1)[:-1]).save(path)
    with pytest.raises(ValueError, match=r"000000000001\.png.*19x30.*20x30"):
        source.load(0)


def test_grey_images_become_colour(tree: Tree) -> None:
    source = tree.write([(1, "cat", box(0, 0, 9, 9))]).source()
    Image.fromarray(drawn_image(1)[..., 0]).save(tree.img_dir / "000000000001.png")
    np.testing.assert_array_equal(source[0].image[0, :, 1], np.arange(9))


def test_malformed_annotation_files_are_explained(tree: Tree) -> None:
    tree.ann_file.write_text("{")
    with pytest.raises(ValueError, match=r"instances_train2017\.json is not valid JSON"):
        tree.source()
    for content in ("[]", '{"images": []}'):
        tree.ann_file.write_text(content)
        with pytest.raises(ValueError, match="is no COCO instance file: it has no list"):
            tree.source()
    tree.write([], annotations=[{"id": 8, "image_id": 1, "category_id": 1, "segments_info": []}])
    with pytest.raises(ValueError, match=r"'annotations' \(id 8\) has no 'segmentation'"):
        tree.source()
    entry = {"id": 8, "image_id": 2, "category_id": 1, "segmentation": []}
    tree.write([], annotations=[entry])
    with pytest.raises(ValueError, match=r"annotation 8 of .* has image_id=2, which the file does"):
        tree.source()
    tree.write([], annotations=[{**entry, "image_id": 1, "category_id": 99}])
    with pytest.raises(ValueError, match="has category_id=99"):
        tree.source()
    twice = [{"id": 1, "file_name": "a.png", "height": 1, "width": 1}] * 2
    with pytest.raises(ValueError, match=r"image ids more than once: \[1\]"):
        tree.write([], images=twice).source()


def test_values_with_a_plain_meaning_are_read(tree: Tree) -> None:
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT * WIDTH]}
    tree.write([(1, "cat", box(0, 0, 9, 9)), (1, "dog", crowd), (1, "dog", box(0, 0, 4, 4))])
    content = json.loads(tree.ann_file.read_text())
    content["images"][0] |= {"id": "1", "height": str(HEIGHT), "width": float(WIDTH)}
    for entry, is_crowd in zip(content["annotations"], ("0", "1", None), strict=True):
        entry |= {"iscrowd": is_crowd, "image_id": 1.0, "category_id": str(entry["category_id"])}
    boxed = {"id": 9, "image_id": 1, "category_id": 17, "bbox": [0, 0, 9, 9]}
    content["annotations"] += [boxed, {**boxed, "segmentation": None}]
    # As LVIS does, without file_name; and as Windows does, with a byte order mark.
    name = content["images"][0].pop("file_name")
    content["images"][0]["coco_url"] = f"http://images.cocodataset.org/train2017/{name}"
    tree.ann_file.write_text(json.dumps(content), encoding="utf-8-sig")
    source = tree.source()
    assert [record.categories for record in source.records] == [("cat",), ("dog",)]
    assert source.records[0].path == tree.img_dir / name
    assert source.dropped == {"crowd region": 1, "without a mask": 2}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"file_name": 7}, r"id 1: file_name: expected text, got 7"),
        ({"file_name": None}, r"id 1: file_name: expected text, got None"),
        ({"file_name": "a" * 5000}, "a{40}"),
        ({"height": 0}, r"id 1: height x width: .*got 0x30"),
        ({"height": 10**9}, r"id 1: height x width: .*got 1000000000x30"),
        ({"width": "wide"}, r"id 1: width: expected an integer, got 'wide'"),
        ({"width": 30.5}, r"id 1: width: expected an integer, got 30\.5"),
        ({"id": [1]}, r"id: expected an integer, got \[1\]"),
    ],
)
def test_other_values_are_named(tree: Tree, change: dict, message: str) -> None:
    image = {"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH, **change}
    with pytest.raises(ValueError, match=rf"instances_train2017\.json.*{message}"):
        tree.write([(1, "cat", box(0, 0, 9, 9))], images=[image]).source()


def test_entries_must_be_objects(tree: Tree) -> None:
    with pytest.raises(ValueError, match=r"expected objects in 'annotations', got \[3\]"):
        tree.write([], annotations=[[3]]).source()


def test_grey_images_of_16_bits_are_refused_by_name(tree: Tree) -> None:
    source = tree.write([(1, "cat", box(0, 0, 9, 9))]).source()
    deep = drawn_image(1)[..., 0].astype(np.uint16) * 257
    Image.fromarray(deep).save(tree.img_dir / "000000000001.png")
    with pytest.raises(ValueError, match=r"000000000001\.png: expected 8 bits .*uint16"):
        source.load(0)


# Real data -----------------------------------------------------------------------------------


def test_real_coco(real_data: Path) -> None:
    paths = real_data / "coco/annotations/instances_train2017.json", real_data / "coco/train2017"
    if not paths[0].is_file():
        pytest.skip(f"{paths[0]} not found")
    source = CocoObjects(*paths, min_area=1500)
    assert len(source) == 308
    assert len(source) + source.dropped.total() == 939
    held_back = CocoObjects(*paths, min_area=1500, holdout_every=5, holdout=True)
    training = CocoObjects(*paths, min_area=1500, holdout_every=5)
    assert {r.image_id for r in held_back.records}.isdisjoint(r.image_id for r in training.records)
    assert len(held_back) + len(training) == 308
    for index in range(0, 308, 20):
        assert source[index].mask.sum() >= 1500
