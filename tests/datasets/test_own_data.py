"""A folder of own images and masks: values, classes, label images and the split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ood_seg.datasets.setup import own_data
from ood_seg.datasets.setup.own_classes import parse_classes, parse_value, value_text
from ood_seg.datasets.setup.own_config import distinct_colours, network_size

RED, BLUE = (255, 0, 0), (0, 0, 255)


def write(folder: Path, masks: dict[str, Image.Image], *, ending: str = ".png") -> Path:
    for name, mask in masks.items():
        for kind, image in (("images", Image.new("RGB", mask.size)), ("masks", mask)):
            path = folder / kind / (name + (".jpg" if kind == "images" else ending))
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    return folder


def indices(*rows) -> Image.Image:
    return Image.fromarray(np.array(rows, np.uint8))


def palette_image() -> Image.Image:
    image = indices([0, 1, 1])
    image.putpalette([*RED, *BLUE])
    assert image.mode == "P"
    return image


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), ("128,64,128", (128, 64, 128)), ("#804080", (128, 64, 128))]
)
def test_values(text, value):
    assert parse_value(text) == value
    assert parse_value(value_text(value)) == value


@pytest.mark.parametrize("text", ["256", "-1", "1,2", "1,2,300", "#12345", "red", ""])
def test_other_texts_are_no_values(text):
    with pytest.raises(ValueError, match="#RRGGBB"):
        parse_value(text)


def test_classes():
    assert parse_classes(["road", "sky"]) == {"road": [0], "sky": [1]}
    given = ["car=26", "road=7", "car=#000000"]
    assert parse_classes(given) == {"car": [26, (0, 0, 0)], "road": [7]}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["road=1", "sky"], "'sky'"),
        (["road", "road"], "'road' is given twice"),
        (["road=1", "sky=1"], "1 is given to 'road' and 'sky'"),
        (["=1"], "'=1'"),
        ([str(i) for i in range(255)], "1 to 254, got 255"),
    ],
)
def test_classes_that_are_refused(texts, message):
    with pytest.raises(ValueError, match=message):
        parse_classes(texts)


def test_values_are_counted_with_their_shares(tmp_path):
    write(tmp_path, {"b/10": indices([0, 3, 3]), "b/9": indices([3, 255, 3])}, ending="_mask.png")
    pairs = own_data.find_pairs(tmp_path)
    assert [pair.name for pair in pairs] == ["b/9", "b/10"]
    values = own_data.count_values(pairs)
    assert (values.pixels, values.images) == ({0: 1, 3: 4, 255: 1}, {0: 1, 3: 2, 255: 1})
    assert values.share(3) == pytest.approx(4 / 6)
    assert values.shapes == [(1, 3), (1, 3)]
    assert own_data.assigned(values, {"a": [3], "b": [0]}, []) == {0: 1, 3: 0, 255: 255}


def test_colours_and_palettes(tmp_path):
    colour = Image.new("RGBA", (3, 1), (*RED, 255))
    values = own_data.count_values(own_data.find_pairs(write(tmp_path / "rgb", {"a": colour})))
    assert (values.pixels, values.in_colour) == ({RED: 3}, True)
    pairs = own_data.find_pairs(write(tmp_path / "p", {"a": palette_image()}))
    assert own_data.count_values(pairs).pixels == {0: 1, 1: 2}
    in_colour = own_data.count_values(pairs, in_colour=True)
    assert in_colour.pixels == {RED: 1, BLUE: 2}
    folder = tmp_path / "labels"
    own_data.write_labels(pairs, {RED: 4, BLUE: 255}, folder, in_colour=True)
    written = np.array(Image.open(folder / "a.png"))
    np.testing.assert_array_equal(written, [[4, 255, 255]])


def test_values_without_a_class_are_named(tmp_path):
    values = own_data.count_values(
        own_data.find_pairs(write(tmp_path, {"a": indices([0, 9, 9, 5])}))
    )
    with pytest.raises(ValueError, match=r"9 \(50.00%\), 5 \(25.00%\).*--ignore '9' '5'"):
        own_data.assigned(values, {"road": [0]}, [])
    with pytest.raises(ValueError, match=r"class: 5 \(25.00%\)"):
        own_data.assigned(values, {"road": [0]}, [9])
    expected = {0: 0, 9: 255, 5: 255}
    assert own_data.assigned(values, {"road": [0]}, [9, 5]) == expected
    assert own_data.assigned(values, {"road": [0]}, None) == expected
    with pytest.raises(ValueError, match=r"indices.*'road'.*road=9"):
        own_data.assigned(values, {"road": [RED]}, None)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"a": indices([0]), "b": Image.new("RGB", (1, 1))}, "b.png has colours"),
        ({"a": Image.fromarray(np.array([[300]], np.uint16))}, "a.png: .*300"),
        (
            {
                "a": Image.fromarray(
                    np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
                )
            },
            "colours so far",
        ),
    ],
)
def test_masks_that_are_refused(tmp_path, masks, message):
    with pytest.raises(ValueError, match=message):
        own_data.count_values(own_data.find_pairs(write(tmp_path, masks)))


def test_a_mask_of_another_size_is_refused(tmp_path):
    write(tmp_path, {"a": indices([0, 1])})
    Image.new("RGB", (5, 4)).save(tmp_path / "images" / "a.jpg")
    with pytest.raises(ValueError, match=r"a\.png: 2x1, its image 5x4"):
        own_data.count_values(own_data.find_pairs(tmp_path))


def test_folders_and_pairs_that_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        own_data.find_pairs(tmp_path / "nowhere")
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match="photos; give --images"):
        own_data.find_pairs(tmp_path)
    write(tmp_path, {"a": indices([0]), "b": indices([0])})
    assert len(own_data.find_pairs(tmp_path)) == 2
    (tmp_path / "images" / "b.jpg").rename(tmp_path / "images" / "c.jpg")
    with pytest.raises(ValueError, match=r"c\.jpg"):
        own_data.find_pairs(tmp_path)
    (tmp_path / "images" / "c.jpg").rename(tmp_path / "images" / "b.png")
    with pytest.raises(ValueError, match=r"1 \.jpg, 1 \.png"):
        own_data.find_pairs(tmp_path)


def test_the_split_is_that_of_the_seed_or_of_the_folders():
    names = [str(index) for index in range(10)]
    parts, given = own_data.split(names, val_share=0.3, seed=1)
    assert not given
    assert sorted(parts["train"] + parts["val"]) == names
    assert len(parts["val"]) == 3
    assert own_data.split(names, val_share=0.3, seed=1)[0] == parts
    assert own_data.split(names, val_share=0.3, seed=2)[0] != parts
    folders = ["train/b/1", "training/2", "val/3"]
    expected = {"train": ["train/b/1", "training/2"], "val": ["val/3"]}
    assert own_data.split(folders, val_share=0.5, seed=0) == (expected, True)
    for few in (names[:1], names):
        with pytest.raises(ValueError, match="between 0 and 1"):
            own_data.split(few, val_share=0.5 if len(few) == 1 else 1.0, seed=0)


def test_sizes_and_colours():
    assert network_size((1080, 1920)) == (1024, 576)
    assert network_size((120, 160)) == (160, 128)
    assert network_size((10, 3000)) == (1024, 32)
    assert len(set(distinct_colours(254))) == 254
