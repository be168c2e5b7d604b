"""Image messages as arrays: encodings, padding, byte order, refusals."""

from __future__ import annotations

import array
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from ros_doubles import compressed, header, raw, street

from ood_seg.ros.fields import Header, Runtime, build
from ood_seg.ros.images import array_of, image_message, image_of

STREET = street()
ALPHA = np.full((*STREET.shape[:2], 1), 200, np.uint8)
RUNTIME = Runtime(lambda name: SimpleNamespace)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("bgr8", STREET),
        ("rgb8", STREET[..., ::-1]),
        ("bgra8", np.concatenate([STREET, ALPHA], 2)),
        ("rgba8", np.concatenate([STREET[..., ::-1], ALPHA], 2)),
    ],
)
def test_colour_images_are_read_as_bgr(encoding, pixels, padding):
    read = image_of(raw(np.ascontiguousarray(pixels), encoding, padding=padding))
    np.testing.assert_array_equal(read, STREET)
    assert read.flags.c_contiguous


def test_two_pixels_by_hand():
    message = raw(np.zeros((1, 2, 3), np.uint8), "rgb8", data=bytes([1, 2, 3, 4, 5, 6]))
    np.testing.assert_array_equal(image_of(message), [[[3, 2, 1], [6, 5, 4]]])


@pytest.mark.parametrize(
    "holder",
    [
        bytes,
        bytearray,
        list,
        memoryview,
        lambda data: array.array("B", data),
        lambda data: np.frombuffer(data, np.uint8),
        lambda data: np.frombuffer(data, np.int8),
    ],
)
def test_data_of_any_sequence_type(holder):
    message = raw(STREET, "bgr8")
    message.data = holder(message.data)
    np.testing.assert_array_equal(image_of(message), STREET)


@pytest.mark.parametrize(
    ("encoding", "remedy"),
    [
        ("mono8", "trained on colour"),
        ("mono16", "trained on colour"),
        ("8UC1", "trained on colour"),
        ("bayer_rggb8", "debayering"),
        ("yuv422", "camera driver to rgb8"),
        ("yuv422_yuy2", "camera driver to rgb8"),
        ("uyvy", "camera driver to rgb8"),
        ("nv12", "camera driver to rgb8"),
        ("rgb16", "8 bits"),
        ("8UC3", "order of its channels"),
        ("32FC1", "depth"),
    ],
)
def test_other_encodings_are_refused_with_a_remedy(encoding, remedy):
    with pytest.raises(ValueError, match=f"rgb8, bgr8, rgba8, bgra8, got '{encoding}'.*{remedy}"):
        image_of(raw(STREET, encoding))


def test_unknown_encoding():
    with pytest.raises(ValueError, match=r"got 'hsv8'$"):
        image_of(raw(STREET, "hsv8"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": b"\0" * 719}, r"expected 720 bytes \(12 rows of 60\), got 719"),
        ({"data": b"\0" * 721}, "got 721"),
        ({"data": b""}, "got 0"),
        ({"step": 59}, "expected at least 60 bytes for 20 pixels of bgr8, got 59"),
        ({"height": 0, "data": b""}, "got 20x0"),
        ({"width": 0, "step": 0, "data": b""}, "got 0x12"),
    ],
)
def test_data_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        image_of(raw(STREET, "bgr8", **changes))


def test_byte_order_of_floats():
    values = np.array([[1.5, -2.25, 3e-5]], np.float32)
    for order, flag in (("<f4", 0), (">f4", 1)):
        message = raw(values.astype(order), "32FC1", padding=3, is_bigendian=flag)
        read = array_of(message)
        np.testing.assert_array_equal(read, values)
        assert read.dtype == np.float32
    swapped = raw(values.astype(">f4"), "32FC1", is_bigendian=0)
    assert not np.array_equal(array_of(swapped), values)


@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("mono8", STREET[..., 0]),
        ("rgb8", STREET),
        ("32FC1", np.float32(STREET[..., 0]) / 7),
        ("mono8", STREET[::2, ::3, 1]),  # not contiguous
    ],
)
def test_images_are_written_as_they_are_read(encoding, pixels):
    message = build(RUNTIME, image_message(pixels, encoding, Header.of(raw(STREET, "bgr8"))))
    np.testing.assert_array_equal(array_of(message), pixels)
    assert message.step == pixels.shape[1] * pixels.itemsize * (3 if encoding == "rgb8" else 1)
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (1700000000, 123456789)
    assert message.header.frame_id == "camera"


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (STREET, "mono8"),
        (STREET[..., 0], "rgb8"),
        (STREET[..., 0], "32FC1"),
        (np.zeros((2, 2)), "32FC1"),
    ],
)
def test_arrays_of_another_type_are_refused(pixels, encoding):
    with pytest.raises(ValueError, match=f"{encoding} image: expected"):
        image_message(pixels, encoding, Header(0, 0))


def test_png_is_read_exactly_and_jpeg_nearly():
    smooth = cv2.resize(STREET, (80, 48), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_array_equal(image_of(compressed(smooth)), smooth)
    for text in (
        "",
        "jpeg",
        "jpg",
        "mjpeg",
        "image/jpeg",
        "JPEG",
        "bgr8; JPEG Compressed bgr8",
        "rgb8; jpeg compressed bgr8",
        "bgr8; jpeg compressed ",
        "rgb8; jpeg compressed; bgr8",
    ):
        message = compressed(smooth, "jpg")
        message.format = text
        read = image_of(message)
        assert np.abs(read.astype(int) - smooth).mean() < 5
        assert np.abs(read[..., ::-1].astype(int) - smooth).mean() > 20


@pytest.mark.parametrize("text", ["rgb8; png compressed rgb8", "rgb8; png compressed; rgb8"])
def test_a_format_that_states_rgb_is_swapped(text):
    read = image_of(compressed(STREET[..., ::-1], "png", text))
    np.testing.assert_array_equal(read, STREET)


def test_exif_does_not_turn_a_compressed_image():
    plain = compressed(STREET, "jpg").data
    # Orientation 6 (turn by 90 degrees) in an APP1 segment after the start marker.
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    segment = b"Exif\0\0" + tiff
    turned = plain[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment + plain[2:]
    seen = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert seen.shape == (20, 12, 3)  # a viewer would turn it
    read = image_of(SimpleNamespace(header=header(), format="jpeg", data=turned))
    assert read.shape == (12, 20, 3)


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("kept", [0.5, 0.95])
def test_truncated_images_are_refused(kind, kept):
    message = compressed(STREET, kind, "jpeg" if kind == "jpg" else "png")
    message.data = message.data[: int(len(message.data) * kept)]
    with pytest.raises(ValueError, match="truncated"):
        image_of(message)


@pytest.mark.parametrize("kind", ["png", "jpg"])
@pytest.mark.parametrize("tail", [b"\0" * 100, b"trailer"])
def test_bytes_after_the_end_are_ignored(kind, tail):
    message = compressed(STREET, kind)
    expected = image_of(message)
    message.data += tail
    np.testing.assert_array_equal(image_of(message), expected)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (compressed(STREET[..., 0]), "expected three colour channels"),
        (compressed(STREET.astype(np.uint16) * 257), "expected 8 bit"),
        (compressed(STREET, "png", "16UC1; compressedDepth png"), "expected jpeg or png, got"),
        (compressed(STREET, "png", "h264"), "expected jpeg or png, got 'h264'"),
        (compressed(STREET, "bmp", "jpeg"), "neither JPEG nor PNG"),
        (SimpleNamespace(format="jpeg", data=b""), "neither JPEG nor PNG"),
        (SimpleNamespace(format="", data=b""), "neither JPEG nor PNG"),
    ],
)
def test_other_compressed_images_are_refused(message, error):
    with pytest.raises(ValueError, match=error):
        image_of(message)


def test_alpha_of_a_compressed_image_is_dropped():
    pixels = np.concatenate([STREET, ALPHA], 2)
    np.testing.assert_array_equal(image_of(compressed(pixels)), STREET)


def test_decompression_bombs_are_not_decoded():
    data = bytearray(compressed(STREET).data)
    data[16:24] = (60000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    with pytest.raises(ValueError, match="60000x60000 pixels are more than"):
        image_of(SimpleNamespace(format="png", data=bytes(data)))
