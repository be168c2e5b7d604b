"""Cut-outs in folders, and pieces of the scene, as outlier sources."""

from __future__ import annotations

import pickle

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mmseg")

from mmseg.registry import TRANSFORMS

import ood_seg.register  # noqa: F401
from ood_seg.datasets import CutoutFolder, PasteOutliers, ScenePieces
from ood_seg.datasets.decoded_cache import CACHE
from ood_seg.datasets.scene_pieces import round_shape, shuffled_tiles, twisted
from ood_seg.labels import OUTLIER


def rgba(height=10, width=14, seed=0):
    """RGB noise whose alpha grows from left to right; its first row is transparent."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), np.uint8)
    pixels[..., 3] = np.linspace(0, 255, width).round()
    pixels[0, :, 3] = 0
    return pixels


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        Image.fromarray(rgba(seed=number)).save(tmp_path / f"{number}.png")
    return tmp_path


def test_alpha_of_half_and_above_is_the_object(folder):
    source = CutoutFolder(folder)
    assert len(source) == 6
    for number in range(6):
        image, mask = source.load(number)
        stored = rgba(seed=number)
        opaque = stored[..., 3] >= 128
        first = np.flatnonzero(opaque.any(axis=0))[0]
        np.testing.assert_array_equal(mask, opaque[1:, first:])
        np.testing.assert_array_equal(image, stored[1:, first:, 2::-1])
    with pytest.raises(IndexError, match="6"):
        source.load(6)


@pytest.mark.parametrize("kind", ["webp", "LA", "P"])
def test_other_files_with_alpha(kind, tmp_path):
    image = Image.fromarray(rgba())
    if kind == "webp":
        image.save(tmp_path / "a.webp", lossless=True)
    elif kind == "LA":
        image.convert("LA").save(tmp_path / "a.png")
    else:
        palette = Image.new("P", (14, 10), 3)
        palette.paste(9, (0, 0, 7, 10))
        palette.putpalette([10, 20, 30] * 10)
        palette.save(tmp_path / "a.png", transparency=9)
    image, mask = CutoutFolder(tmp_path).load(0)
    assert mask.shape == ((10, 7) if kind == "P" else (9, 7))
    if kind == "P":
        assert image[0, 0].tolist() == [30, 20, 10]


@pytest.mark.parametrize("together", [True, False])
def test_images_with_masks_of_the_same_stem(together, tmp_path):
    images = tmp_path / "images"
    masks = images if together else tmp_path / "masks"
    for place in (images / "sub", masks / "sub"):
        place.mkdir(parents=True, exist_ok=True)
    mask = np.zeros((20, 30), np.uint8)
    mask[5:9, 4:10] = 3
    for name in ("a", "sub/b"):
        cv2.imwrite(str(images / f"{name}.bmp"), np.full((20, 30, 3), 77, np.uint8))
        cv2.imwrite(str(masks / f"{name}.png"), mask)
    source = CutoutFolder(images, masks)
    assert [image.name for image, _ in source.cutouts] == ["a.bmp", "b.bmp"]
    image, found = source.load(1)
    assert found.shape == (4, 6)
    assert found.all()
    assert (image == 77).all()
    cv2.imwrite(str(masks / "a.png"), mask[:19])
    (images / "sub" / "b.bmp").unlink()
    with pytest.raises(ValueError, match=r"b\.png(.|\n)*\(19, 30\)") as caught:
        CutoutFolder(images, masks)
    assert "a.png" in str(caught.value)


def test_files_that_cannot_be_pasted_are_all_named(folder):
    Image.new("RGB", (5, 5)).save(folder / "opaque.png")
    Image.fromarray(np.full((5, 5, 4), 127, np.uint8)).save(folder / "faint.png")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:90])
    (folder / "text.png").write_text("no image")
    with pytest.raises(ValueError, match="4 cut-outs that cannot be pasted") as caught:
        CutoutFolder(folder)
    message = str(caught.value)
    for words in (
        "opaque.png: has no alpha",
        "faint.png: fully transparent",
        "cut.png",
        "text.png",
    ):
        assert words in message


def test_folders_without_cutouts_are_named_with_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="folder not found"):
        CutoutFolder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="no cut-outs"):
        CutoutFolder(tmp_path)
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((5, 5, 3), np.uint8))
    with pytest.raises(ValueError, match="1 other images; give their masks by mask_dir"):
        CutoutFolder(tmp_path)
    with pytest.raises(ValueError, match="without a mask"):
        CutoutFolder(tmp_path, tmp_path)


def test_small_and_held_back_objects_are_counted(folder):
    Image.fromarray(rgba(4, 4)).save(folder / "small.png")
    kept = CutoutFolder(folder, min_area=40, holdout_every=3)
    held = CutoutFolder(folder, min_area=40, holdout_every=3, holdout=True)
    names = [{path.name for path, _ in one.cutouts} for one in (kept, held)]
    assert names == [{"0.png", "1.png", "3.png", "4.png"}, {"2.png", "5.png"}]
    assert sorted(kept.dropped.values()) == [1, 2]
    with pytest.raises(ValueError, match="7 object below min_area=4000"):
        CutoutFolder(folder, min_area=4000)
    with pytest.raises(ValueError, match="holdout_every"):
        CutoutFolder(folder, holdout=True)


def test_the_cache_holds_what_is_asked_and_gives_copies(folder):
    CACHE.clear()
    plain, cached = CutoutFolder(folder), CutoutFolder(folder, cache_mb=1)
    for _ in range(2):
        for index in range(6):
            one = cached.load(index)
            for array, expected in zip(one, plain.load(index), strict=True):
                np.testing.assert_array_equal(array, expected)
                array[:] = 0  # the copy is the caller's
    assert len(CACHE) == 6
    assert CACHE.num_bytes == 6 * 10 * 14 * 4
    assert len(pickle.loads(pickle.dumps(cached))) == 6
    CACHE.clear()


def scene(height=64, width=96):
    image = np.random.default_rng(3).integers(0, 200, (height, width, 3), np.uint8)
    return {"img": image, "gt_seg_map": np.zeros((height, width), np.uint8)}


def test_cutouts_are_pasted_from_a_config_also_where_they_are_larger_than_the_scene(tmp_path):
    Image.fromarray(rgba(300, 200)).save(tmp_path / "large.png")
    source = {"type": "CutoutFolder", "img_dir": str(tmp_path)}
    transform = TRANSFORMS.build({"type": "PasteOutliers", "source": source, "count": 1})
    np.random.seed(0)
    pasted = transform(scene())["gt_seg_map"] == OUTLIER
    assert pasted.any(axis=1).sum() == 64  # 299 x 100 pixels, scaled down to the height


def test_pieces_are_made_of_the_scene_and_repeat_with_the_seed():
    transform = TRANSFORMS.build(
        {"type": "PasteOutliers", "source": {"type": "ScenePieces"}, "count": 1}
    )
    np.random.seed(0)
    images = []
    for _ in range(12):
        results = transform(scene())
        pasted = results["gt_seg_map"] == OUTLIER
        assert 4 <= pasted.sum() <= 0.16 * 64 * 64 * 1.4
        np.testing.assert_array_equal(results["img"][~pasted], scene()["img"][~pasted])
        assert (results["img"][pasted] != scene()["img"][pasted]).any()
        images.append(results["img"])
    np.random.seed(0)
    np.testing.assert_array_equal(images, [transform(scene())["img"] for _ in range(12)])


def test_shuffled_tiles_keep_the_pixels_and_move_them():
    piece = np.arange(30 * 30 * 3, dtype=np.uint16).reshape(30, 30, 3)
    shuffled = shuffled_tiles(piece, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(shuffled, axis=None), np.sort(piece, axis=None))
    assert (shuffled != piece).mean() > 0.5
    assert shuffled_tiles(piece[:1, :1], np.random.default_rng(0)).shape == (1, 1, 3)


def test_twisting_turns_the_middle_and_not_the_corners():
    piece = np.zeros((41, 41, 3), np.uint8)
    piece[:, 20:] = 255
    turned = twisted(piece, np.pi)
    assert (turned[20, 24] == 0).all()
    assert (turned[20, 16] == 255).all()
    np.testing.assert_allclose(turned[:2, :2].astype(int), piece[:2, :2].astype(int), atol=2)
    np.testing.assert_array_equal(twisted(piece, 0.0), piece)


def test_pieces_avoid_what_is_ignored():
    labels = np.full((60, 90), 255, np.uint8)
    labels[20:60, 10:80] = 0
    image = np.where(labels[..., None] == 255, 250, 20).astype(np.uint8).repeat(3, axis=-1)
    source = ScenePieces(kinds="shuffled", size=(0.1, 0.1))
    rng = np.random.default_rng(0)
    drawn = [source.sample_from_scene(image, labels, rng).image for _ in range(30)]
    assert np.mean([(piece == 20).mean() for piece in drawn]) > 0.9
    padding = source.sample_from_scene(image, np.full_like(labels, 255), rng)  # nothing else there
    assert padding.mask.any()


def test_shapes_are_round_and_never_empty():
    rng = np.random.default_rng(0)
    for side in (1, 2, 5, 80):
        for _ in range(10):
            mask = round_shape(side, rng)
            assert mask.shape == (side, side)
            assert mask[side // 2, side // 2]
            assert cv2.connectedComponents(mask.astype(np.uint8))[0] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kinds": "shufled"}, "'shufled'.*'shuffled'"),
        ({"kinds": ()}, "kinds"),
        ({"size": (0.5, 0.1)}, "size"),
        ({"size": (0.5, 2)}, "size"),
    ],
)
def test_wrong_arguments_of_pieces_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScenePieces(**arguments)
    with pytest.raises(ValueError, match="ScenePieces"):
        PasteOutliers(ScenePieces(), raw_probability=0.5)
