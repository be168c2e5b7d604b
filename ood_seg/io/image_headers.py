"""What image files state about themselves, read by Pillow without decoding them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

# The first bytes of each format, and its plug-in of Pillow.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "Png"),
    (b"\xff\xd8\xff", "Jpeg"),
    (b"BM", "Bmp"),
    (b"II*\0", "Tiff"),
    (b"MM\0*", "Tiff"),
    (b"P3", "Ppm"),
    (b"P6", "Ppm"),
)
_SIGNATURE_BYTES = 12
_EXIF_ORIENTATION = 0x0112
# Tags of a TIFF that state how much memory its decoder takes, and their types by the standard.
_TIFF_SIZES = {256: "width", 257: "length", 322: "tile width", 323: "tile length"}
_TIFF_TYPES = {3: "H", 4: "I"}
# Tiles may be larger than a small image, up to this number of pixels.
_TILE_PIXELS = 1 << 22
# Everything that Pillow's decoders raise for broken files.
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, IndexError, struct.error, zlib.error)


class ImageHeader(NamedTuple):
    """What a file states about its image, read without decoding it.

    Attributes:
        height: rows as stored.
        width: columns as stored.
        mode: Pillow's name of the pixel format, such as 'RGB', 'L', 'LA', 'P' or 'CMYK'.
        orientation: EXIF orientation 1..8; 1 is upright, from 5 on width and height are swapped
            when it is applied.
        pixels_start: first byte after the header, where the coded pixels of a JPEG begin.
    """

    height: int
    width: int
    mode: str
    orientation: int
    pixels_start: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width with the orientation applied."""
        return (self.width, self.height) if self.orientation > 4 else (self.height, self.width)


def read_header(file: BinaryIO, source: object = "content") -> ImageHeader | None:
    """Read size, pixel format and orientation, without decoding.

    Args:
        file: an image file at its beginning, open for binary reading.
        source: named in errors.

    Returns:
        The header; None where Pillow is not installed.

    Raises:
        ValueError: empty, not one of the formats that are read, or a damaged header.
    """
    start = file.read(_SIGNATURE_BYTES)
    file.seek(0)
    plugin = _pillow_plugin(_format_of(start, source))
    if plugin is None:
        return None
    with image_errors(source):
        # The plug-in itself, as `Image.open` has a limit on pixels of its own for all its callers.
        image = plugin(file)
        orientation = _orientation(image)
        if image.format == "TIFF":
            _check_tiff(file)
    return ImageHeader(image.height, image.width, image.mode, orientation, file.tell())


@contextlib.contextmanager
def image_errors(source: object, what: str = "image") -> Iterator[None]:
    """Turn Pillow's errors inside the block into a ValueError that names the file.

    Args:
        source: the file.
        what: kind of the file, such as 'label image'.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except UnidentifiedImageError:
        raise ValueError(
            f"{what} {source}: not an image in a format that Pillow reads; "
            "fetch or write the file again"
        ) from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{what} {source}: refused, {error}") from error
    except _PILLOW_ERRORS as error:
        raise ValueError(
            f"{what} {source}: truncated or damaged ({error}); fetch or write the file again"
        ) from error


def _format_of(start: bytes, source: object) -> str:
    """Name of the plug-in of Pillow for a file that begins like this."""
    if not start:
        raise ValueError(f"image {source}: the file is empty; fetch or write it again")
    if start[:4] == b"RIFF" and start[8:] == b"WEBP":
        return "WebP"
    name = next((name for signature, name in _SIGNATURES if start.startswith(signature)), None)
    if name is None:
        raise ValueError(
            f"image {source}: not an image (PNG, JPEG, WebP, BMP, TIFF and PPM are read); "
            f"it begins with {start[:8]!r}"
        )
    return name


@functools.cache
def _pillow_plugin(name: str) -> Any:
    """Pillow's class of a format, None where Pillow is not installed."""
    try:
        module = importlib.import_module(f"PIL.{name}ImagePlugin")
    except ImportError:
        return None
    return getattr(module, f"{name}ImageFile")


def _check_tiff(file: BinaryIO) -> None:
    """Refuse a TIFF that another reader may take for a larger one, or whose tiles are larger.

    Readers differ in what they make of a size that stands there twice, or in an unusual type.
    """
    file.seek(0)
    order = "<" if file.read(4)[:1] == b"I" else ">"
    (offset,) = struct.unpack(f"{order}I", file.read(4))
    file.seek(offset)
    (count,) = struct.unpack(f"{order}H", file.read(2))
    sizes: dict[int, int] = {}
    for _ in range(count):
        tag, kind, number, value = struct.unpack(f"{order}HHI4s", file.read(12))
        if tag not in _TIFF_SIZES:
            continue
        if tag in sizes or kind not in _TIFF_TYPES or number != 1:
            raise ValueError(f"{_TIFF_SIZES[tag]} repeated, or not a single integer")
        (sizes[tag],) = struct.unpack_from(order + _TIFF_TYPES[kind], value)
    pixels, tile = (sizes.get(a, 0) * sizes.get(b, 0) for a, b in ((256, 257), (322, 323)))
    if tile > max(pixels, _TILE_PIXELS):
        raise ValueError(f"tiles of {tile} pixels in an image of {pixels}")


def _orientation(image: Any) -> int:
    """EXIF orientation of an opened file; a TIFF has been turned by Pillow already."""
    from PIL import Image

    # Not `image.getexif()`, which decodes a PNG to its end.
    exif = Image.Exif()
    exif.load(image.info.get("exif", b""))
    orientation = exif.get(_EXIF_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1
