"""Loading transforms: values, and an error by name for each kind of bad file."""

import multiprocessing
import os
import unicodedata

import cv2
import numpy as np
import pytest
import trees
from PIL import Image

pytest.importorskip("mmseg")

from mmseg.datasets.transforms import LoadAnnotations

from ood_seg.datasets import LoadCheckedImage, LoadCheckedLabels
from ood_seg.datasets.decoded_cache import CACHE, DecodedCache
from ood_seg.datasets.label_images import apply_label_table, label_table, value_ranges


def sample(path, **more):
    return {"seg_map_path": str(path), "seg_fields": [], "reduce_zero_label": False, **more}


def load(path, transform=None, **more):
    transform = transform or LoadCheckedLabels(num_classes=19)
    return transform(sample(path, **more))["gt_seg_map"]


def test_image_is_bgr_and_its_shape_is_stored(tmp_path):
    Image.fromarray(np.full((2, 3, 3), (10, 20, 30), np.uint8)).save(tmp_path / "a.png")
    results = LoadCheckedImage()({"img_path": str(tmp_path / "a.png")})
    assert results["img"][0, 0].tolist() == [30, 20, 10]
    assert results["img"].flags.c_contiguous
    assert results["img"].flags.writeable
    assert results["img_shape"] == results["ori_shape"] == (2, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_truncated_image_is_named(tmp_path, suffix):
    path = trees.cut(trees.image(tmp_path / f"cut{suffix}", (64, 64)))
    with pytest.raises(ValueError, match=rf"image .*cut{suffix}.*(truncated|damaged)"):
        LoadCheckedImage()({"img_path": str(path)})


def test_missing_and_foreign_images_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"image not found: .*no\.png.*data_root"):
        LoadCheckedImage()({"img_path": str(tmp_path / "no.png")})
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match=r"page\.jpg: not an image"):
        LoadCheckedImage()({"img_path": str(tmp_path / "page.jpg")})
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match=r"empty\.jpg: the file is empty"):
        LoadCheckedImage()({"img_path": str(tmp_path / "empty.jpg")})
    assert LoadCheckedImage(ignore_empty=True)({"img_path": str(tmp_path / "empty.jpg")}) is None


def test_accents_may_be_stored_otherwise_on_disk(tmp_path):
    listed, stored = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    Image.fromarray(np.full((2, 3), 7, np.uint8)).save(tmp_path / stored)
    assert load(tmp_path / listed).tolist() == [[7] * 3] * 2


def test_sixteen_bit_image_is_refused(tmp_path):
    Image.fromarray(np.full((2, 2), 4000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png: expected 8 bits.*uint16"):
        LoadCheckedImage()({"img_path": str(tmp_path / "deep.png")})


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_image_gets_three_equal_channels(tmp_path, mode):
    Image.new(mode, (3, 2), 77 if mode == "L" else (77, 9)).save(tmp_path / "grey.png")
    image = LoadCheckedImage()({"img_path": str(tmp_path / "grey.png")})["img"]
    assert np.array_equal(image, np.full((2, 3, 3), 77))


@pytest.mark.parametrize("orientation", [3, 6])
def test_turned_image_with_labels_needs_a_statement(tmp_path, orientation):
    stored = np.zeros((2, 3, 3), np.uint8)
    stored[0, 0] = 200
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    results = {"img_path": str(tmp_path / "a.png"), "seg_map_path": "a_labels.png"}
    with pytest.raises(ValueError, match=rf"a\.png.*EXIF orientation {orientation}.*drawn_on"):
        LoadCheckedImage()(dict(results))
    shown = np.rot90(stored, 2 if orientation == 3 else -1)
    for options, expected in (
        ({"labels_drawn_on": "stored"}, stored),
        ({"labels_drawn_on": "shown"}, shown),
        ({"color_type": "color_ignore_orientation"}, stored),
    ):
        assert np.array_equal(LoadCheckedImage(**options)(dict(results))["img"], expected)
    # Without labels there is nothing to be misplaced.
    assert np.array_equal(LoadCheckedImage()({"img_path": results["img_path"]})["img"], shown)
    with pytest.raises(ValueError, match=r"labels_drawn_on.*'viewer'"):
        LoadCheckedImage(labels_drawn_on="viewer")
    with pytest.raises(ValueError, match=r"color_type.*'unchanged'"):
        LoadCheckedImage(color_type="unchanged")


def test_labels_pass_unchanged_where_known(tmp_path):
    values = np.array([[0, 5], [18, 255]])
    results = LoadCheckedLabels(num_classes=19)(sample(trees.mask(tmp_path / "m.png", values)))
    assert results["gt_seg_map"].dtype == np.uint8
    assert np.array_equal(results["gt_seg_map"], values)
    assert results["seg_fields"] == ["gt_seg_map"]


def test_unknown_value_is_named_with_file_and_count(tmp_path):
    path = trees.mask(tmp_path / "m.png", [[0, 19, 19], [33, 255, 1]])
    with pytest.raises(ValueError, match=r"m\.png: unknown label values 19 \(2 pixels\), 33 \(1"):
        load(path)
    with pytest.raises(ValueError, match=r"known are 0\.\.18, 255"):
        load(path)


def test_number_of_classes_may_come_from_the_data_set(tmp_path):
    path = trees.mask(tmp_path / "m.png", [[0, 1]])
    assert load(path, LoadCheckedLabels(), num_classes=2).tolist() == [[0, 1]]
    with pytest.raises(ValueError, match=r"num_classes=19"):
        load(path, LoadCheckedLabels())
    with pytest.raises(ValueError, match="num_classes: expected"):
        LoadCheckedLabels(num_classes=0)


def test_outlier_value_is_kept_only_where_allowed(tmp_path):
    path = trees.mask(tmp_path / "m.png", [[0, 254]])
    assert load(path, LoadCheckedLabels(19, outlier_ok=True)).tolist() == [[0, 254]]
    both = {"label_map": {0: 3}, "label_map_is_complete": True}
    assert load(path, LoadCheckedLabels(outlier_ok=True), **both).tolist() == [[3, 254]]
    with pytest.raises(ValueError, match=r"254 \(1 pixels\)"):
        load(path)


def test_complete_map_is_strict_and_a_choice_of_classes_leaves_void(tmp_path):
    path = trees.mask(tmp_path / "m.png", [[0, 2, 255]])
    assert load(path, label_map={0: 1, 2: 0}).tolist() == [[1, 0, 255]]
    with pytest.raises(ValueError, match=r"255 \(1 pixels\); known are 0, 2"):
        load(path, label_map={0: 1, 2: 0}, label_map_is_complete=True)


def test_map_agrees_with_mmseg_also_where_values_swap(tmp_path):
    path = trees.mask(tmp_path / "m.png", [[0, 1], [2, 11]])
    label_map = {0: 10, 1: 2, 2: 1, 10: 0, 11: 255}
    ours = load(path, label_map=dict(label_map), label_map_is_complete=True)
    theirs = LoadAnnotations()(sample(path, label_map=label_map))["gt_seg_map"]
    assert ours.tolist() == theirs.tolist() == [[10, 2], [1, 255]]


def test_reduce_zero_label_agrees_with_mmseg(tmp_path):
    path = trees.mask(tmp_path / "m.png", [[0, 1], [2, 255]])
    ours = load(path, reduce_zero_label=True)
    theirs = LoadAnnotations()(sample(path, reduce_zero_label=True))["gt_seg_map"]
    assert ours.tolist() == theirs.tolist() == [[255, 0], [1, 255]]


def test_size_is_compared_with_the_image_on_disk_not_with_the_resized_one(tmp_path):
    path = trees.mask(tmp_path / "m.png")
    resized = {"img": np.zeros((3, 4, 3)), "img_shape": (3, 4)}
    assert load(path, ori_shape=trees.SHAPE, **resized).shape == trees.SHAPE
    with pytest.raises(ValueError, match=r"m\.png: .*\(4, 8\).*got \(6, 8\); image: i\.png"):
        load(path, ori_shape=(4, 8), img_path="i.png")


def test_labels_are_fitted_to_a_changed_image_only_on_request(tmp_path):
    path = trees.mask(tmp_path / "m.png", [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]])
    for how in (True, "rescale"):
        fitted = load(path, LoadCheckedLabels(19, fit_to_image=how), ori_shape=(2, 2))
        assert fitted.tolist() == [[1, 2], [3, 4]]
    cropped = load(path, LoadCheckedLabels(19, fit_to_image="crop"), ori_shape=(3, 3))
    assert cropped.tolist() == [[1, 2, 2], [3, 4, 4], [3, 4, 4]]
    with pytest.raises(ValueError, match=r"m\.png: expected at least the image's size \(5, 4\)"):
        load(path, LoadCheckedLabels(19, fit_to_image="crop"), ori_shape=(5, 4))
    with pytest.raises(ValueError, match="fit_to_image: expected False"):
        LoadCheckedLabels(19, fit_to_image="stretch")


def test_palette_image_gives_indices(tmp_path):
    image = Image.fromarray(np.array([[0, 1], [2, 255]], np.uint8), mode="P")
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768).astype(np.uint8).tobytes())
    image.save(tmp_path / "p.png")
    assert Image.open(tmp_path / "p.png").mode == "P"
    assert load(tmp_path / "p.png").tolist() == [[0, 1], [2, 255]]


def test_one_bit_and_sixteen_bit_masks_give_indices(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "bit.png")
    assert load(tmp_path / "bit.png").tolist() == [[1, 0]]
    Image.fromarray(np.array([[7, 255]], np.uint16)).save(tmp_path / "deep.png")
    assert load(tmp_path / "deep.png").tolist() == [[7, 255]]
    Image.fromarray(np.array([[7, 26001]], np.uint16)).save(tmp_path / "instance.png")
    with pytest.raises(ValueError, match=r"instance\.png: expected values in 0\.\.255, got 7\.\."):
        load(tmp_path / "instance.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_coloured_mask_is_refused_with_the_remedy(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "color.png")
    with pytest.raises(ValueError, match=rf"color\.png: .*'{mode}'.*labelTrainIds"):
        load(tmp_path / "color.png")


def test_truncated_and_missing_masks_are_named(tmp_path):
    noise = np.random.default_rng(0).integers(0, 19, (64, 64))
    path = trees.cut(trees.mask(tmp_path / "cut.png", noise))
    with pytest.raises(ValueError, match=r"label image .*cut\.png: truncated or damaged"):
        load(path)
    with pytest.raises(FileNotFoundError, match=r"label image not found: .*no\.png"):
        load(tmp_path / "no.png")


def test_table_leaves_its_input_and_ranges_read_well():
    raw = np.array([[0, 3]], np.uint8)
    table, known = label_table({0: 1, 3: 0, 300: 7})
    assert apply_label_table(raw, table, known, source="m").tolist() == [[1, 0]]
    assert raw.tolist() == [[0, 3]]
    assert np.flatnonzero(known).tolist() == [0, 3]
    assert value_ranges(np.array([0, 1, 2, 7, 254, 255])) == "0..2, 7, 254..255"


def test_the_cache_gives_the_same_samples_within_its_bound(tmp_path):
    pairs = []
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        image, labels = tmp_path / f"{number}.png", tmp_path / f"{number}_labels.png"
        cv2.imwrite(str(image), pixels)
        cv2.imwrite(str(labels), pixels[..., 0] % 19)
        pairs.append({"img_path": str(image), "seg_map_path": str(labels)})

    def load(cache_mb, pair):
        results = {**pair, "seg_fields": []}
        results = LoadCheckedImage(cache_mb=cache_mb)(results)
        return LoadCheckedLabels(num_classes=19, cache_mb=cache_mb)(results)

    CACHE.clear()
    for pair in pairs * 2:
        plain, cached = load(0, pair), load(1, pair)
        for key in ("img", "gt_seg_map"):
            np.testing.assert_array_equal(plain[key], cached[key])
            cached[key][:] = 0  # what a later transform does is not seen by the next epoch
    assert len(CACHE) == 8
    assert CACHE.num_bytes == 4 * 20 * 30 * 4
    CACHE.clear()


def test_the_cache_keeps_what_came_first_and_never_exceeds_its_bound():
    cache, made = DecodedCache(), []

    def make(number):
        made.append(number)
        return np.full((20, 5), number, np.uint8)

    for number in (0, 1, 2, 0, 1, 2):
        found = cache.get(str(number), lambda number=number: make(number), max_bytes=250)
        assert found.shape == (20, 5)
        assert (found == number).all()
        assert cache.num_bytes <= 250
    assert made == [0, 1, 2, 2]
    cache.get("0", lambda: make(0), max_bytes=0)
    assert made[-1] == 0
    cache.clear()
    assert (len(cache), cache.num_bytes) == (0, 0)


def test_an_index_that_is_full_adds_nothing_and_finds_the_rest():
    cache = DecodedCache()
    for repeat in range(2):
        for number in range(100):
            make = lambda number=number: np.full((1, 1), number, np.uint8)  # noqa: E731
            assert cache.get(f"{number}", make, max_bytes=1000)[0, 0] == number
        assert 0 < len(cache) < 100, repeat


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forked workers here")
def test_forked_workers_share_what_one_of_them_has_read():
    cache = DecodedCache()
    cache.reserve(1 << 20)
    context = multiprocessing.get_context("fork")
    worker = context.Process(
        target=cache.get,
        args=("a", lambda: np.arange(60, dtype=np.uint8).reshape(4, 5, 3)),
        kwargs={"max_bytes": 1 << 20},
    )
    worker.start()
    worker.join()
    assert (len(cache), cache.num_bytes) == (1, 60)
    found = cache.get("a", lambda: pytest.fail("read again"), max_bytes=1 << 20)
    np.testing.assert_array_equal(found, np.arange(60).reshape(4, 5, 3))
    assert not found.flags.writeable


def test_a_larger_bound_starts_anew_and_leaves_arrays_in_use_alone():
    cache = DecodedCache()
    cache.get("a", lambda: np.full((9, 9), 7, np.uint8), max_bytes=100)
    held = cache.get("a", lambda: pytest.fail("read again"), max_bytes=100)
    cache.reserve(10_000)
    assert len(cache) == 0
    assert (held == 7).all()


@pytest.mark.parametrize("cache_mb", [-1, 0.5, "64"])
def test_a_wrong_bound_of_the_cache_is_named(cache_mb):
    for kind in (LoadCheckedImage, LoadCheckedLabels):
        with pytest.raises(ValueError, match=f"cache_mb.*{cache_mb!r}"):
            kind(cache_mb=cache_mb)
