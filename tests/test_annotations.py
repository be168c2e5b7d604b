"""Labels and legends: no two share a pixel, all lie in the image, texts keep to their plates."""

import numpy as np
import pytest

from ood_seg.visualization.annotations import (
    LegendLine,
    Lettering,
    Rectangle,
    colour_patch,
    draw_legend,
    label_places,
    legend_place,
    shared_pixels,
)

SIZES = [(37, 53), (240, 320), (720, 1280), (2160, 3840)]


def slow_shared(one, other):
    """Pixels in both of two rectangles, counted."""
    canvas = np.zeros((80, 80), int)
    for left, top, width, height in (one, other):
        canvas[top : top + height, left : left + width] += 1
    return int((canvas == 2).sum())


def test_shared_pixels_are_those_counted():
    rng = np.random.default_rng(0)
    first, second = (
        np.c_[rng.integers(0, 40, (n, 2)), rng.integers(0, 30, (n, 2))] for n in (9, 7)
    )
    expected = [[slow_shared(one, other) for other in second] for one in first]
    np.testing.assert_array_equal(shared_pixels(first, second), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("seed", range(4))
def test_no_label_lies_on_another_or_outside(size, seed):
    rng = np.random.default_rng(seed)
    extents = rng.integers(1, max(size) // 4, (60, 2))
    corners = [(rng.integers(0, size[1]), rng.integers(0, size[0])) for _ in extents]
    boxes = np.c_[np.array(corners), extents]
    boxes[:, 2:] = np.minimum(boxes[:, 2:], np.array(size[::-1]) - boxes[:, :2])
    plate = Lettering.of(size).plate("#12 unknown 87 %")
    taken = Rectangle(0, size[0] - 30, 50, 30)
    places = label_places(boxes, [plate] * 40, size, [taken])
    placed = np.array([taken, *(one for one in places if one is not None)])
    shared = shared_pixels(placed, placed)
    np.fill_diagonal(shared, 0)
    assert not shared.any()
    assert (placed[:, :2] >= 0).all()
    assert (placed[:, :2] + placed[:, 2:] <= size[::-1]).all()
    # None hides an object.
    assert (2 * shared_pixels(placed[1:], boxes) <= boxes[:, 2] * boxes[:, 3]).all()
    if size[0] >= 240:
        assert len(placed) > 5


def test_a_label_is_above_its_box_or_where_there_is_room():
    def place(box, size=(100, 200)):
        return label_places(np.array([box]), [(50, 10)], size)[0]

    assert place((20, 40, 60, 30)) == (20, 30, 50, 10)
    assert place((20, 5, 60, 30)) == (20, 35, 50, 10)  # below
    assert place((180, 40, 20, 30)) == (150, 30, 50, 10)  # moved into the image
    assert place((0, 0, 200, 100)) == (0, 0, 50, 10)  # inside
    assert place((0, 0, 40, 8), size=(8, 40)) is None
    assert label_places(np.zeros((0, 4)), [], (9, 9)) == []


@pytest.mark.parametrize("size", SIZES)
def test_text_can_be_read_at_any_size_and_keeps_to_its_plate(size):
    lettering = Lettering.of(size)
    assert lettering.height >= max(12, min(size) / 53)
    width, height = lettering.plate("unknown 87 %")
    canvas = np.full((height + 20, width + 20, 3), 128, np.uint8)
    lettering.draw(canvas, "unknown 87 %", Rectangle(10, 10, width, height))
    plate = canvas[10:-10, 10:-10]
    assert (canvas[:10] == 128).all()
    assert (canvas[:, -10:] == 128).all()
    assert plate.max() > 200  # letters
    assert (plate[:, -1] == plate[0, 0]).all()  # which do not touch the side of the plate


def test_a_legend_fits_and_avoids_objects():
    size, lettering = (720, 1280), Lettering.of((720, 1280))
    lines = [
        LegendLine("unknown: fpr 5%, probability >= 62 %", colour_patch((1, 2, 250))),
        LegendLine("x" * 300),
    ]
    kept, place = legend_place(lines, lettering, size, np.zeros((0, 4)))
    assert [kept[0].text, kept[1].text[-3:]] == [lines[0].text, "..."]
    assert place.width <= 0.61 * size[1]
    assert (place.left, place.top + place.height) == (0, 720)
    _, other = legend_place(lines, lettering, size, np.array([[0, 600, 300, 100]]))
    assert (other.left + other.width, other.top + other.height) == (1280, 720)
    image = np.full((*size, 3), 128, np.uint8)
    draw_legend(image, kept, place, lettering)
    changed = np.argwhere((image != 128).any(axis=2))
    assert changed.min(axis=0).tolist() == [place.top, place.left]
    assert changed.max(axis=0).tolist() == [719, place.width - 1]
    assert (image == (1, 2, 250)).all(axis=2).any()
    # Too small for any text.
    assert legend_place(lines, Lettering.of((20, 30)), (20, 30), np.zeros((0, 4))) is None
    assert legend_place([], lettering, size, np.zeros((0, 4))) is None
