"""Picture files and arrays become `(H, W, 3)` uint8 BGR, or an error that names the remedy.

What is done with each kind, for files and arrays alike:

    three channels of 8 bit      taken
    four channels                the alpha channel is dropped, the colours stay as they are stored
    one channel                  refused: the networks are trained on colour
    16 bit, float                refused: the range is not known (12-bit cameras store 0..4095)
    EXIF orientation             applied, as OpenCV does
    palette, CMYK                converted to BGR
    truncated                    refused, though decoders would fill JPEG with grey
    more than `max_pixels`       refused from its header, before anything is decoded
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm"})
MAX_PIXELS = 100_000_000
# No format that is read here stores a picture in more: four channels of 16 bit, and its header.
_MOST_BYTES_OF_A_PIXEL = 8
_HEADER_BYTES = 1 << 20
# Depth and channels as stored, colours as BGR without alpha, turned upright.
_AS_STORED = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
_RANGE_REMEDIES = {
    "u": "(image / 257).astype(numpy.uint8) for full 16 bit",
    "f": "(image * 255).round().astype(numpy.uint8) for 0..1",
}
_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_SHORT = 256, 257, 3


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture file.

    Args:
        path: PNG, JPEG, WebP, BMP, TIFF (its first page) or PPM, recognised by its content.
        max_pixels: larger pictures are refused.

    Returns:
        `(H, W, 3)` uint8 BGR.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is a folder, cannot be read, or `decode_image` refuses it.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise FileNotFoundError(f"picture {path} does not exist")
        if not path.is_file():
            raise ValueError(f"picture {path}: expected a file, got a folder or device")
        size = path.stat().st_size
        if size > max_pixels * _MOST_BYTES_OF_A_PIXEL + _HEADER_BYTES:
            raise ValueError(
                f"picture {path}: {size} bytes, more than {max_pixels} pixels can have; raise "
                "max_pixels if it is meant"
            )
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"picture {path}: cannot be read ({error.strerror})") from error
    return decode_image(content, path, max_pixels=max_pixels)


def decode_image(
    content: bytes, source: object = "content", *, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode the bytes of a picture file.

    Args:
        content: as `read_image` reads it.
        source: named in errors.
        max_pixels: larger pictures are refused before they are decoded.

    Returns:
        `(H, W, 3)` uint8 BGR.

    Raises:
        ValueError: empty, no picture, truncated, damaged, too large, of one channel, or not of 8
            bit; the message names `source` and the remedy.
    """
    if not content:
        raise ValueError(f"picture {source}: the file is empty; fetch or write it again")
    width, height = picture_size(content, source)
    if width < 1 or height < 1:
        raise ValueError(f"picture {source}: has no pixels ({width}x{height})")
    if width * height > max_pixels:
        raise ValueError(
            f"picture {source}: {width}x{height} pixels are more than the allowed {max_pixels} and "
            "were not decoded; make it smaller, or raise max_pixels if it is meant"
        )
    if content.startswith(b"\xff\xd8") and not _jpeg_is_whole(content):
        raise ValueError(f"picture {source}: truncated JPEG; fetch or write it again")
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), _AS_STORED)
    except cv2.error as error:
        raise ValueError(f"picture {source}: OpenCV refuses it ({error.err})") from error
    if image is None:
        raise ValueError(f"picture {source}: truncated or damaged; fetch or write it again")
    return checked_image(image, f"picture {source}")


def checked_image(image: np.ndarray, source: object = "image") -> np.ndarray:
    """Check an array, and drop its alpha channel if it has one.

    Args:
        image: `(H, W, 3)` or `(H, W, 4)` uint8, blue first.
        source: named in errors.

    Returns:
        `(H, W, 3)` uint8 BGR; the input itself where it can be.

    Raises:
        TypeError: no array.
        ValueError: another shape or type, or no pixels; the message names the remedy.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{source}: expected a NumPy array, got {type(image).__name__}")
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1):
        raise ValueError(
            f"{source}: expected three colour channels, got one (shape {image.shape}); the network "
            "knows colour pictures, so scores of grey ones mean little. To try: "
            "cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)"
        )
    if image.ndim != 3 or image.shape[2] not in (3, 4):
        raise ValueError(
            f"{source}: expected (H, W, 3) uint8 in BGR order, got shape {image.shape} of "
            f"{image.dtype}{_shape_remedy(image)}"
        )
    if not image.size:
        raise ValueError(f"{source}: has no pixels, its shape is {image.shape}")
    if image.dtype != np.uint8:
        raise ValueError(
            f"{source}: expected 8 bit (uint8), got {image.dtype}; bring its range to 0..255 first,"
            f" such as {_RANGE_REMEDIES.get(image.dtype.kind, 'image.astype(numpy.uint8)')}"
        )
    return np.ascontiguousarray(image[..., :3])


def _shape_remedy(image: np.ndarray) -> str:
    if image.ndim == 4:
        return "; give a batch as a list: list(images)"
    if image.ndim == 3 and image.shape[0] in (3, 4):
        return "; channels come last: image.transpose(1, 2, 0)"
    return ""


def picture_size(content: bytes, source: object = "content") -> tuple[int, int]:
    """Width and height as the header says, without decoding; before any EXIF rotation.

    Raises:
        ValueError: a format that is not read here, or a header that is cut off or damaged.
    """
    reader = _header_reader(content)
    if reader is None:
        raise ValueError(
            f"picture {source}: not a picture (PNG, JPEG, WebP, BMP, TIFF and PPM are read); "
            f"it begins with {content[:8]!r}"
        )
    try:
        return reader(content)
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError(
            f"picture {source}: its header is cut off or damaged; fetch or write it again"
        ) from error


def _header_reader(content: bytes) -> Callable[[bytes], tuple[int, int]] | None:
    """The function that finds width and height, by the first bytes."""
    signatures = (
        (b"\x89PNG\r\n\x1a\n", _png_size),
        (b"\xff\xd8\xff", _jpeg_size),
        (b"BM", _bmp_size),
        (b"II*\0", _tiff_size),
        (b"MM\0*", _tiff_size),
        (b"P3", _ppm_size),
        (b"P6", _ppm_size),
    )
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return _webp_size
    return next((reader for start, reader in signatures if content.startswith(start)), None)


def _png_size(content: bytes) -> tuple[int, int]:
    return struct.unpack_from(">II", content, 16)


def _bmp_size(content: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", content, 14)
    # The oldest header, of 12 bytes, has 16-bit sizes; a negative height means top row first.
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", content, 18)
    return abs(width), abs(height)


def _ppm_size(content: bytes) -> tuple[int, int]:
    words = re.sub(rb"#[^\n]*", b" ", content[:4096]).split(None, 4)
    return int(words[1]), int(words[2])


def _webp_size(content: bytes) -> tuple[int, int]:
    kind = content[12:16]
    if kind == b"VP8X":
        return (
            1 + int.from_bytes(content[24:27], "little"),
            1 + int.from_bytes(content[27:30], "little"),
        )
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", content, 21)
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", content, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff_size(content: bytes) -> tuple[int, int]:
    """Size of the first page: two entries of its directory, of 16 or 32 bit."""
    order = "<" if content.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(order + "I", content, 4)
    (count,) = struct.unpack_from(order + "H", content, directory)
    found = {}
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", content, entry)
        if tag in (_TIFF_WIDTH, _TIFF_HEIGHT):
            form = order + ("H" if kind == _TIFF_SHORT else "I")
            (found[tag],) = struct.unpack_from(form, content, entry + 8)
    if len(found) < 2:
        raise ValueError("no size")
    return found[_TIFF_WIDTH], found[_TIFF_HEIGHT]


def _jpeg_size(content: bytes) -> tuple[int, int]:
    """Size from the frame header: segments are skipped by their lengths up to it."""
    place = 2
    while True:
        found = _JPEG_MARKER.match(content, place)
        if found is None:
            raise ValueError("no frame header")
        marker = found[1][0]
        (length,) = struct.unpack_from(">H", content, found.end())
        # Start of frame: C0..CF but the Huffman tables C4, the extension C8, arithmetic CC.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, found.end() + 3)
            return width, height
        place = found.end() + length


def _jpeg_is_whole(content: bytes) -> bool:
    """Whether the end marker comes after the last scan; thumbnails inside segments are skipped."""
    place = 2
    while True:
        # Between segments a marker follows at once; after a scan its coded bytes come first.
        found = _JPEG_MARKER.search(content, place)
        if found is None:
            return False
        if found[1] == b"\xd9":
            return True
        if found.end() + 2 > len(content):
            return False
        place = found.end() + int.from_bytes(content[found.end() : found.end() + 2], "big")
