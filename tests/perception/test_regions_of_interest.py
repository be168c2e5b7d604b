"""Polygons, classes and masks as regions."""

import cv2
import numpy as np
import pytest

from ood_seg.perception.core.regions import ClassRegion, PolygonRegion, parse_region

CLASSES = ("road", "sidewalk", "traffic light")


def test_class_region_includes_obstacles_on_the_road():
    labels = np.full((20, 20), 2, np.uint8)
    labels[10:, :] = 0
    labels[14:17, 8:11] = 1  # a hole
    labels[10:13, 3:6] = 2  # a bay at the edge
    inside = ClassRegion((0,))(labels)
    assert inside.dtype == bool
    np.testing.assert_array_equal(inside, np.arange(20)[:, None] >= np.full(20, 10))


def test_components_have_separate_hulls_and_small_ones_are_ignored():
    labels = np.full((40, 40), 2, np.uint8)
    labels[30:, :10] = 0
    labels[30:, 30:] = 0
    labels[2, 2] = 0  # one pixel of 1600: below 0.5 %
    inside = ClassRegion((0,))(labels)
    np.testing.assert_array_equal(inside, (labels == 0) & (np.arange(40)[:, None] >= 30))


def test_growing_adds_a_margin():
    labels = np.full((20, 30), 1, np.uint8)
    labels[8:12, 10:20] = 0
    inside = ClassRegion((0,), grow=3)(labels)
    expected = np.zeros((20, 30), bool)
    expected[5:15, 7:23] = True
    np.testing.assert_array_equal(inside, expected)


def test_no_pixel_of_the_classes_is_an_empty_region():
    assert not ClassRegion((0,))(np.ones((5, 6), np.uint8)).any()


def test_polygon_in_fractions_and_in_pixels():
    labels = np.zeros((11, 21), np.uint8)
    corners = ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))
    expected = np.broadcast_to(np.arange(11)[:, None] >= 5, (11, 21))
    np.testing.assert_array_equal(PolygonRegion(corners)(labels), expected)
    pixels = ((0, 5), (20, 5), (20, 10), (0, 10))
    np.testing.assert_array_equal(PolygonRegion(pixels)(labels), expected)
    triangle = PolygonRegion(((0, 10), (10, 0), (20, 10)))(labels)
    assert [int(row.sum()) for row in triangle] == [1 + 2 * row for row in range(11)]


def test_text_names_classes_polygons_and_masks(tmp_path):
    assert parse_region(None, CLASSES) is None
    assert parse_region("Road, traffic light", CLASSES) == ClassRegion((0, 2))
    assert parse_region("road;grow=20", CLASSES) == ClassRegion((0,), grow=20)
    assert parse_region(["sidewalk"], CLASSES) == ClassRegion((1,))
    polygon = parse_region("polygon:0,1;0.5,0.5;1,1", CLASSES)
    assert polygon == PolygonRegion(((0, 1), (0.5, 0.5), (1, 1)))
    drawn = np.zeros((4, 6), np.uint8)
    drawn[2:] = 7
    cv2.imwrite(str(tmp_path / "a:b.png"), drawn)
    for region in (f"mask:{tmp_path}/a:b.png", drawn):
        inside = parse_region(region, CLASSES)(np.zeros((4, 6), np.uint8))
        np.testing.assert_array_equal(inside, drawn != 0)
    # Not white alone: dark colours and 16 bit count as well.
    for colour in (drawn.astype(np.uint16), np.dstack([drawn // 7, 0 * drawn, 0 * drawn])):
        cv2.imwrite(str(tmp_path / "mask.png"), colour)
        inside = parse_region(f"mask:{tmp_path}/mask.png", CLASSES)(drawn)
        np.testing.assert_array_equal(inside, drawn != 0)
    own = parse_region(lambda labels: labels == 3, CLASSES)
    assert own(np.array([[3, 4]])).tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("road,raod", "region: .*road, sidewalk, traffic light.*'raod'"),
        ("road;grow=-1", r"region: .*grow=PIXELS.*grow=-1"),
        ("polygon:0,1;2", r"region: .*polygon:X,Y.*polygon:0,1;2`"),
        ("polygon:0,1;1,1", r"polygon region: .* 3 .*\(\(0\.0, 1\.0\), \(1\.0, 1\.0\)\)"),
        ("polygon:0,1;1,1;nan,0", r"polygon region: .*finite.*nan"),
        ([], r"class region: .*\(\)"),
        (np.zeros((2, 2, 3)), r"mask region: expected \(H, W\)"),
    ],
)
def test_malformed_regions_are_refused(region, message):
    with pytest.raises(ValueError, match=message):
        parse_region(region, CLASSES)


def test_masks_of_other_files_and_sizes_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        parse_region(f"mask:{tmp_path}/none.png", CLASSES)
    for content in (b"", b"text"):
        (tmp_path / "text.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"region: .*text\.png"):
            parse_region(f"mask:{tmp_path}/text.png", CLASSES)
    with pytest.raises(ValueError, match=r"mask region: .*\(4, 6\).* got \(6, 4\)"):
        parse_region(np.ones((4, 6)), CLASSES)(np.zeros((6, 4), np.uint8))
    with pytest.raises(TypeError, match=r"region: .*got 3"):
        parse_region(3, CLASSES)


def test_a_missing_mask_is_named():
    with pytest.raises(FileNotFoundError, match=r"region: mask nope\.png"):
        parse_region("mask:nope.png", CLASSES)
