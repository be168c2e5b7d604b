"""Image files and arrays of every kind: accepted, converted as stated, or refused."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import cv2
import numpy as np
import pytest

from ood_seg.io import image_headers
from ood_seg.io.image_headers import read_header
from ood_seg.io.images import checked_image, decode_image, read_image

pillow = pytest.importorskip("PIL.Image")

FORMATS = (".png", ".jpg", ".webp", ".bmp", ".tif", ".ppm")


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Smooth, so that lossy formats stay near; odd height and width."""
    small = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(small, (161, 121), interpolation=cv2.INTER_CUBIC)


def encoded(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return cv2.imencode(suffix, image, options)[1].tobytes()


def header(content: bytes) -> image_headers.ImageHeader:
    return read_header(io.BytesIO(content))


def saved(image: np.ndarray, mode: str, kind: str, **options) -> bytes:
    """A file written by Pillow from a BGR image."""
    stream = io.BytesIO()
    pillow.fromarray(np.ascontiguousarray(image[..., ::-1])).convert(mode).save(
        stream, kind, **options
    )
    return stream.getvalue()


@pytest.fixture(params=[True, False], ids=["pillow", "without pillow"])
def with_pillow(request, monkeypatch) -> bool:
    """Run a test a second time as on a machine without Pillow."""
    if not request.param:
        monkeypatch.setattr(image_headers, "_pillow_plugin", lambda name: None)
    return request.param


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_is_read_and_its_header_states_the_size(suffix, image, tmp_path):
    content = encoded(suffix, image)
    (tmp_path / "image").write_bytes(content)  # by content, not by suffix
    read = read_image(tmp_path / "image")
    assert (read.shape, read.dtype) == ((121, 161, 3), np.uint8)
    assert np.abs(read.astype(int) - image).mean() < (6 if suffix in (".jpg", ".webp") else 1e-9)
    assert header(content)[:2] == (121, 161)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.9, -1])
def test_truncated_files_are_refused(suffix, kept, image, with_pillow):
    content = encoded(suffix, image)
    cut = content[:-1] if kept < 0 else content[: int(len(content) * kept)]
    with pytest.raises(ValueError, match=r"image x\.y: .*(empty|truncated|not an image)"):
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
    assert header(lossless)[:2] == (121, 161)
    np.testing.assert_array_equal(decode_image(lossless), image)
    alpha = np.dstack([image, np.full(image.shape[:2], 7, np.uint8)])
    assert header(encoded(".webp", alpha))[:2] == (121, 161)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_alpha_is_dropped_from_files_and_arrays(suffix, image):
    alpha = np.random.default_rng(1).integers(0, 256, image.shape[:2], dtype=np.uint8)
    four = np.dstack([image, alpha])
    np.testing.assert_array_equal(decode_image(encoded(suffix, four)), image)
    np.testing.assert_array_equal(checked_image(four), image)
    assert checked_image(four).flags.c_contiguous
    assert checked_image(image) is image or np.shares_memory(checked_image(image), image)


def test_grey_and_16_bit_are_refused_in_files_and_arrays(image, with_pillow):
    grey, deep = image[..., 0], image.astype(np.uint16) * 257
    for refuse in (lambda a: decode_image(encoded(".png", a)), checked_image):
        with pytest.raises(ValueError, match=r"three colour channels, got one.*COLOR_GRAY2BGR"):
            refuse(grey)
        with pytest.raises(ValueError, match=r"uint8.*got uint16.*image / 257"):
            refuse(deep)
    with pytest.raises(ValueError, match="got float32"):
        decode_image(encoded(".tif", grey.astype(np.float32)))
    with pytest.raises(ValueError, match="damaged" if with_pillow else "got float32"):
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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_unless_stored_pixels_are_wanted(kind, orientation, image):
    exif = pillow.Exif()
    exif[0x0112] = orientation
    content = saved(image, "RGB", kind, exif=exif)
    stored = decode_image(content, apply_orientation=False)
    np.testing.assert_array_equal(stored, decode_image(saved(image, "RGB", kind)))
    shown = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: cv2.rotate(stored, cv2.ROTATE_90_CLOCKWISE),
        7: stored[::-1, ::-1].transpose(1, 0, 2),
        8: cv2.rotate(stored, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }[orientation]
    np.testing.assert_array_equal(decode_image(content), shown)
    assert header(content).orientation == orientation
    assert header(content)[:2] == stored.shape[:2]
    assert header(content).shape == shown.shape[:2]


def test_orientation_of_a_tiff_is_always_applied(image):
    content = saved(image, "RGB", "TIFF", exif={0x0112: 6})
    turned = cv2.rotate(image, cv2.ROTATE_90_CLOCKWISE)
    for apply_orientation in (True, False):
        read = decode_image(content, apply_orientation=apply_orientation)
        np.testing.assert_array_equal(read, turned)
    assert header(content).shape == turned.shape[:2]
    assert header(content).orientation == 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_with_alpha_is_grey(kind, image):
    content = saved(image, "LA", kind)
    with pytest.raises(ValueError, match="got one"):
        decode_image(content)
    expected = np.asarray(pillow.open(io.BytesIO(content)))[..., 0]
    read = decode_image(content, grey_ok=True)
    np.testing.assert_array_equal(read, np.dstack([expected] * 3))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_grey_images_get_three_equal_channels_on_request(kind, image, with_pillow):
    content = saved(image, "L", kind)
    expected = np.asarray(pillow.open(io.BytesIO(content)))
    read = decode_image(content, grey_ok=True)
    np.testing.assert_array_equal(read, np.dstack([expected] * 3))
    deep = encoded(".png", image[..., 0].astype(np.uint16) * 257)
    with pytest.raises(ValueError, match="got uint16"):
        decode_image(deep, grey_ok=True)


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("WEBP", ".webp"), ("TIFF", ".tif")])
def test_first_frame_of_animations_and_pages(kind, suffix, image):
    first, second = (
        pillow.fromarray(np.ascontiguousarray(frame[..., ::-1])) for frame in (image, image[::-1])
    )
    stream = io.BytesIO()
    first.save(stream, kind, save_all=True, append_images=[second], lossless=True)
    np.testing.assert_array_equal(decode_image(stream.getvalue()), image)


@pytest.mark.parametrize("suffix", FORMATS)
def test_bytes_after_the_end_are_ignored(suffix, image):
    content = encoded(suffix, image)
    for tail in (bytes(100), b"trailer \xff\xda trailer"):
        np.testing.assert_array_equal(decode_image(content + tail), decode_image(content))


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
    with pytest.raises(ValueError, match="damaged"):
        decode_image(bomb(0, 10))
    for suffix in FORMATS:
        with pytest.raises(ValueError, match="161x121 pixels are more than the allowed 19480"):
            decode_image(encoded(suffix, image), max_pixels=161 * 121 - 1)


def jpeg_with_hidden_size(image: np.ndarray) -> bytes:
    """A JPEG that states 10x10 to readers that take the parameterless marker TEM for a segment."""
    content = encoded(".jpg", image)
    frame_header = b"\xff\xc0\x00\x0b\x08\x00\x0a\x00\x0a\x01\x01\x11\x00"
    comment = b"\xff\xfe" + struct.pack(">H", 2 + len(frame_header)) + frame_header
    return content[:2] + b"\xff\x01" + struct.pack(">H", 6) + comment + content[2:]


def tiff(sizes: list[tuple[int, int, int]], data: bytes, deflate: bool = False) -> bytes:
    """A TIFF of one channel from its tags of size, `(tag, type, value)`, in their order."""
    tiled = any(tag == 322 for tag, *_ in sizes)
    entries = [*sizes, (258, 3, 8), (259, 3, 8 if deflate else 1), (262, 3, 1), (277, 3, 1)]
    entries += [(324 if tiled else 273, 4, -1), (325 if tiled else 279, 4, len(data))]
    entries.sort(key=lambda entry: entry[0])  # stable: repeated ones keep their order
    start = 8 + 2 + 12 * len(entries) + 4
    body = b"".join(
        struct.pack("<HHII", tag, kind, 1, start if value < 0 else value)
        for tag, kind, value in entries
    )
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return head + body + bytes(4) + data


SHORT, LONG, SIGNED_LONG8, RATIONAL = 3, 4, 17, 5


def test_a_tiff_states_its_size_once(with_pillow):
    plain = tiff([(256, LONG, 12), (257, SHORT, 11)], bytes(12 * 11))
    assert decode_image(plain, grey_ok=True).shape == (11, 12, 3)


@pytest.mark.parametrize(
    "sizes",
    [
        [(256, LONG, 121), (256, LONG, 10), (257, LONG, 121), (257, LONG, 10)],
        [(256, LONG, 10), (256, LONG, 121), (257, LONG, 10), (257, LONG, 121)],
        # Pillow passes over a type that it does not know, libtiff takes it.
        [(256, SIGNED_LONG8, 121), (256, SHORT, 10), (257, SHORT, 10)],
        [(256, LONG, 10), (257, SIGNED_LONG8, 121), (257, SHORT, 10)],
        [(256, RATIONAL, 121), (257, LONG, 10)],
    ],
)
def test_a_tiff_whose_size_can_be_understood_in_two_ways_is_not_decoded(sizes, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(ValueError, match=r"image x\.tif: .*damaged"):
        decode_image(tiff(sizes, bytes(121 * 121)), "x.tif", max_pixels=1000, grey_ok=True)


def test_tiles_of_a_tiff_are_not_much_larger_than_its_image(monkeypatch):
    """One of 140 kB took 550 MB for a tile of 144 million pixels, in an image of 256."""
    zeros = zlib.compress(bytes(16384))
    small = tiff(
        [(256, LONG, 16), (257, LONG, 16), (322, LONG, 128), (323, LONG, 128)], zeros, True
    )
    assert decode_image(small, grey_ok=True).shape == (16, 16, 3)
    sizes = [(256, LONG, 16), (257, LONG, 16), (322, LONG, 12000), (323, LONG, 12000)]
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(ValueError, match="144000000 pixels in an image of 256"):
        decode_image(tiff(sizes, zeros, True), grey_ok=True)


def test_sizes_that_headers_hide_are_refused(image, with_pillow):
    twice = [(256, LONG, 121), (256, LONG, 10), (257, LONG, 121), (257, LONG, 10)]
    for content in (jpeg_with_hidden_size(image), tiff(twice, bytes(121 * 121))):
        with pytest.raises(ValueError, match=r"more than the allowed 1000|damaged"):
            decode_image(content, max_pixels=1000, grey_ok=True)


def test_what_was_decoded_is_checked_as_well(image, monkeypatch):
    small = image_headers.ImageHeader(10, 10, "RGB", 1, 0)
    monkeypatch.setattr("ood_seg.io.images.read_header", lambda *_: small)
    with pytest.raises(ValueError, match="161x121 pixels are more than the allowed 100"):
        decode_image(encoded(".png", image), max_pixels=100)


def test_hidden_size_is_refused_undecoded_where_pillow_is_there(image, monkeypatch):
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(ValueError, match="damaged"):
        decode_image(jpeg_with_hidden_size(image), max_pixels=1000)


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
    with pytest.raises(ValueError, match=r"notes\.png.*b'these ar'"):
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
            # OpenCV may still find an image in it; what it must not do is raise its own error.
            with contextlib.suppress(ValueError):
                decode_image(bytes(changed), max_pixels=10**6)


def test_palette_and_cmyk_images_are_converted(image):
    for mode, kind in (("P", "PNG"), ("CMYK", "JPEG")):
        read = decode_image(saved(image, mode, kind))
        assert read.shape == image.shape
        assert np.abs(read.astype(int) - image).mean() < 25


def test_the_remedy_for_floats_is_not_that_for_16_bit():
    with pytest.raises(ValueError, match=r"got float64; .*\(image \* 255\)"):
        checked_image(np.zeros((4, 4, 3)))
    with pytest.raises(ValueError, match=r"got uint16; .*\(image / 257\)"):
        checked_image(np.zeros((4, 4, 3), np.uint16))
