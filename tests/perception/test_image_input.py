"""Picture files and arrays of every kind: taken, converted as stated, or refused with a remedy."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest

from ood_seg.io.images import (
    checked_image,
    decode_image,
    picture_size,
    read_image,
)

FORMATS = (".png", ".jpg", ".webp", ".bmp", ".tif", ".ppm")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Smooth, so that lossy formats stay near; odd height and width."""
    small = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(small, (161, 121), interpolation=cv2.INTER_CUBIC)


def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_read_and_its_header_tells_the_size(suffix, image, tmp_path):
    content = encoded(suffix, image)
    (tmp_path / "picture").write_bytes(content)  # by content, not by suffix
    read = read_image(tmp_path / "picture")
    assert (read.shape, read.dtype) == ((121, 161, 3), np.uint8)
    assert np.abs(read.astype(int) - image).mean() < (6 if suffix in (".jpg", ".webp") else 1e-9)
    assert picture_size(content) == (161, 121)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9, -1])
def test_truncated_files_are_refused(suffix, kept, image):
    content = encoded(suffix, image)
    cut = content[:-1] if kept < 0 else content[: int(len(content) * kept)]
    with pytest.raises(
        ValueError, match=r"picture x\.y: .*(empty|cut off|truncated|not a picture)"
    ):
        decode_image(cut, "x.y")


def test_jpeg_end_is_found_behind_thumbnails_and_before_appended_bytes(image):
    content = encoded(".jpg", image)
    thumbnail = b"\xff\xe1" + struct.pack(">H", 6) + b"\xff\xd9\xff\xd9"
    with_thumbnail = content[:2] + thumbnail + content[2:]
    np.testing.assert_array_equal(decode_image(with_thumbnail), decode_image(content))
    with pytest.raises(ValueError, match="truncated JPEG"):
        decode_image(with_thumbnail[:-2])
    np.testing.assert_array_equal(decode_image(content + b"trailer"), decode_image(content))
    progressive = encoded(".jpg", image, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert decode_image(progressive).shape == image.shape
    restarts = encoded(".jpg", image, cv2.IMWRITE_JPEG_RST_INTERVAL, 2)
    assert decode_image(restarts).shape == image.shape


def test_lossless_webp_and_its_extended_header(image):
    lossless = encoded(".webp", image, cv2.IMWRITE_WEBP_QUALITY, 101)
    assert picture_size(lossless) == (161, 121)
    np.testing.assert_array_equal(decode_image(lossless), image)
    alpha = np.dstack([image, np.full(image.shape[:2], 7, np.uint8)])
    assert picture_size(encoded(".webp", alpha)) == (161, 121)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_dropped_from_files_and_arrays(suffix, image):
    alpha = np.random.default_rng(1).integers(0, 256, image.shape[:2], dtype=np.uint8)
    four = np.dstack([image, alpha])
    np.testing.assert_array_equal(decode_image(encoded(suffix, four)), image)
    np.testing.assert_array_equal(checked_image(four), image)
    assert checked_image(four).flags.c_contiguous
    assert checked_image(image) is image or np.shares_memory(checked_image(image), image)


def test_grey_and_16_bit_are_refused_alike_in_files_and_arrays(image):
    grey, deep = image[..., 0], image.astype(np.uint16) * 257
    for refuse in (lambda a: decode_image(encoded(".png", a)), checked_image):
        with pytest.raises(ValueError, match=r"three colour channels, got one.*COLOR_GRAY2BGR"):
            refuse(grey)
        with pytest.raises(ValueError, match=r"8 bit \(uint8\), got uint16.*image / 257"):
            refuse(deep)
    with pytest.raises(ValueError, match="got float32"):
        decode_image(encoded(".tif", image.astype(np.float32)))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 5, 1), "got one"),
        ((0, 5, 3), "no pixels"),
        ((4, 5, 2), r"\(H, W, 3\) uint8 in BGR"),
        ((2, 4, 5, 3), r"list\(images\)"),
        ((3, 40, 50), r"transpose\(1, 2, 0\)"),
    ],
)
def test_arrays_of_other_shapes(shape, message):
    with pytest.raises(ValueError, match=message):
        checked_image(np.zeros(shape, np.uint8), "frame 3")


def test_things_that_are_no_arrays():
    with pytest.raises(TypeError, match="expected a NumPy array, got list"):
        checked_image([[1, 2, 3]])


def test_exif_orientation_is_applied(image):
    # Orientation 6 in a JPEG's EXIF segment: to be turned by 90 degrees clockwise.
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, 6, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)
    content = encoded(".jpg", image)
    turned = content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]
    expected = cv2.rotate(decode_image(content), cv2.ROTATE_90_CLOCKWISE)
    np.testing.assert_array_equal(decode_image(turned), expected)


def bomb(width: int, height: int) -> bytes:
    """A small PNG whose header promises many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_bombs_are_refused_before_decoding(image, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(ValueError, match="60000x60000 pixels are more than the allowed 100000000"):
        decode_image(bomb(60000, 60000), "bomb.png")
    with pytest.raises(ValueError, match="has no pixels"):
        decode_image(bomb(0, 10))
    for suffix in FORMATS:
        with pytest.raises(ValueError, match="161x121 pixels are more than the allowed 19480"):
            decode_image(encoded(suffix, image), max_pixels=161 * 121 - 1)


def test_limit_is_inclusive_and_huge_files_are_not_read(image, tmp_path):
    assert decode_image(encoded(".png", image), max_pixels=161 * 121).shape == image.shape
    huge = tmp_path / "huge.bmp"
    with huge.open("wb") as stream:
        stream.truncate(3 << 20)
    with pytest.raises(ValueError, match="3145728 bytes, more than 1000 pixels can have"):
        read_image(huge, max_pixels=1000)


def test_damaged_png_is_refused(image):
    content = bytearray(encoded(".png", image))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(ValueError, match="truncated or damaged"):
        decode_image(bytes(content))


def test_what_is_no_picture_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.png does not exist"):
        read_image(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match="got a folder"):
        read_image(tmp_path)
    (tmp_path / "notes.png").write_text("these are notes")
    with pytest.raises(ValueError, match=r"not a picture.*it begins with b'these ar'"):
        read_image(tmp_path / "notes.png")
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(ValueError, match="the file is empty"):
        read_image(tmp_path / "empty.jpg")


def test_random_bytes_behind_every_signature_give_errors_of_ours(image):
    rng = np.random.default_rng(2)
    for suffix in FORMATS:
        content = encoded(suffix, image)
        for _ in range(20):
            changed = bytearray(content[: rng.integers(8, 200)] + rng.bytes(300))
            changed[8:40] = rng.bytes(32)
            # OpenCV may still find a picture in it; what it must not do is raise its own error.
            with contextlib.suppress(ValueError):
                decode_image(bytes(changed), max_pixels=10**6)


def test_palette_and_cmyk_pictures_are_converted(image):
    pillow = pytest.importorskip("PIL.Image")
    picture = pillow.fromarray(np.ascontiguousarray(image[..., ::-1]))
    for mode, kind in (("P", "PNG"), ("CMYK", "JPEG")):
        stream = io.BytesIO()
        picture.convert(mode).save(stream, kind)
        read = decode_image(stream.getvalue())
        assert read.shape == image.shape
        assert np.abs(read.astype(int) - image).mean() < 25


def test_the_remedy_for_floats_is_not_that_for_16_bit():
    with pytest.raises(ValueError, match=r"got float64; .*\(image \* 255\)"):
        checked_image(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=r"got uint16; .*\(image / 257\)"):
        checked_image(np.zeros((4, 4, 3), np.uint16))
