"""The one image reader: files, uploads and messages become `(H, W, 3)` uint8 BGR, or an error.

The same rule holds wherever an image is read (`infer`, datasets, COCO objects, ROS messages, the
service):

    three channels of 8 bits     taken as they are stored
    four channels                the alpha channel is dropped, the colours stay as they are stored
    grey, grey with alpha        refused, as the networks are trained on colour; with `grey_ok`
                                 repeated in all three channels (known-class and COCO datasets)
    16 bits, float               refused, as the range is unknown (12-bit cameras store 0..4095)
    palette, CMYK                converted to BGR
    EXIF orientation             applied; not with `apply_orientation=False`, where annotations or
                                 a camera model refer to the stored pixels (COCO, ROS). The
                                 orientation tag of a TIFF is a part of the format: always applied
    animated, several pages      the first frame or page
    bytes after the end          ignored
    truncated, damaged           refused, although decoders would fill a JPEG with grey
    more than `max_pixels`       refused from the header, before anything is decoded, and again if
                                 the decoded image is larger than its header states; a TIFF whose
                                 size stands in it twice, or that has huge tiles, is damaged

OpenCV decodes, Pillow reads headers. Pillow is optional here, so that OpenCV and NumPy suffice on
an edge device; without it the number of pixels is only checked after decoding (OpenCV itself stops
at 2**30), and grey with alpha passes as colour. Install it wherever files of others are read.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np

from ood_seg.io.image_headers import ImageHeader, read_header

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm"})
MAX_PIXELS = 100_000_000
# No format that is read here stores more per pixel: four channels of 16 bits, and its header.
_MAX_BYTES_PER_PIXEL = 8
_HEADER_BYTES = 1 << 20
# Depth and channels as stored, colours as BGR without alpha.
_AS_STORED = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_RANGE_REMEDIES = {
    "u": "(image / 257).astype(numpy.uint8) for full 16 bits",
    "f": "(image * 255).round().astype(numpy.uint8) for 0..1",
}


def read_image(
    path: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    grey_ok: bool = False,
    apply_orientation: bool = True,
) -> np.ndarray:
    """Read an image file.

    Args:
        path: PNG, JPEG, WebP, BMP, TIFF or PPM, recognised by its content.
        max_pixels, grey_ok, apply_orientation: see `decode_image`.

    Returns:
        `(H, W, 3)` uint8 BGR.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder, not readable, or `decode_image` refuses it.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise FileNotFoundError(f"image {path} does not exist")
        if not path.is_file():
            raise ValueError(f"image {path}: expected a file, got a folder or device")
        size = path.stat().st_size
        if size > max_pixels * _MAX_BYTES_PER_PIXEL + _HEADER_BYTES:
            raise ValueError(
                f"image {path}: {size} bytes, more than {max_pixels} pixels can have; raise "
                "max_pixels if this is intended"
            )
        content = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"image {path}: cannot be read ({error.strerror})") from error
    return decode_image(
        content,
        path,
        max_pixels=max_pixels,
        grey_ok=grey_ok,
        apply_orientation=apply_orientation,
    )


def decode_image(
    content: bytes,
    source: object = "content",
    *,
    max_pixels: int = MAX_PIXELS,
    grey_ok: bool = False,
    apply_orientation: bool = True,
) -> np.ndarray:
    """Decode the bytes of an image file; the rule is stated at the top of this module.

    Args:
        content: the whole file.
        source: named in errors.
        max_pixels: larger images are refused.
        grey_ok: accept grey images of 8 bits, as three equal channels.
        apply_orientation: turn the image as its EXIF orientation says.

    Returns:
        `(H, W, 3)` uint8 BGR.

    Raises:
        ValueError: empty, not an image, truncated, damaged, too large, grey, or not of 8 bits;
            the message names `source` and the remedy.
    """
    header = read_header(BytesIO(content), source)
    if header is not None:
        _require_pixels(header.height, header.width, max_pixels, source)
    if content.startswith(b"\xff\xd8") and not _jpeg_is_whole(content, header):
        raise ValueError(f"image {source}: truncated JPEG; fetch or write it again")
    flags = _AS_STORED if apply_orientation else _AS_STORED | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"image {source}: OpenCV refuses it ({error.err})") from error
    if image is None:
        raise ValueError(f"image {source}: truncated or damaged; fetch or write it again")
    # A header can state less than the decoder finds.
    _require_pixels(image.shape[0], image.shape[1], max_pixels, source)
    if header is not None and header.mode == "LA" and image.ndim == 3:
        image = image[..., 0]  # OpenCV repeats grey with alpha in all channels
    if grey_ok and image.ndim == 2 and image.dtype == np.uint8:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return checked_image(image, f"image {source}")


def checked_image(image: np.ndarray, source: object = "image") -> np.ndarray:
    """Check an array, and drop its alpha channel if it has one.

    Args:
        image: `(H, W, 3)` or `(H, W, 4)` uint8, blue first.
        source: named in errors.

    Returns:
        `(H, W, 3)` uint8 BGR; the input itself where possible.

    Raises:
        TypeError: not an array.
        ValueError: another shape or type, or no pixels; the message names the remedy.
    """
    if not isinstance(image, np.ndarray):
        raise TypeError(f"{source}: expected a NumPy array, got {type(image).__name__}")
    is_grey = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)
    if not is_grey and (image.ndim != 3 or image.shape[2] not in (3, 4)):
        raise ValueError(
            f"{source}: expected (H, W, 3) uint8 in BGR order, got shape {image.shape} of "
            f"{image.dtype}{_shape_remedy(image)}"
        )
    if not image.size:
        raise ValueError(f"{source}: has no pixels, its shape is {image.shape}")
    if image.dtype != np.uint8:
        raise ValueError(
            f"{source}: expected 8 bits (uint8), got {image.dtype}; bring its range to 0..255 "
            f"first, such as {_RANGE_REMEDIES.get(image.dtype.kind, 'image.astype(numpy.uint8)')}"
        )
    if is_grey:
        raise ValueError(
            f"{source}: expected three colour channels, got one (shape {image.shape}); networks "
            "trained on colour images give scores of little meaning for grey ones. To try: "
            "cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)"
        )
    return np.ascontiguousarray(image[..., :3])


def _shape_remedy(image: np.ndarray) -> str:
    if image.ndim == 4:
        return "; give a batch as a list: list(images)"
    if image.ndim == 3 and image.shape[0] in (3, 4):
        return "; channels come last: image.transpose(1, 2, 0)"
    return ""


def _require_pixels(height: int, width: int, max_pixels: int, source: object) -> None:
    if height * width > max_pixels:
        raise ValueError(
            f"image {source}: {width}x{height} pixels are more than the allowed {max_pixels}; "
            "make it smaller, or raise max_pixels if this is intended"
        )


def _jpeg_is_whole(content: bytes, header: ImageHeader | None) -> bool:
    """Whether an end marker follows the coded pixels; a thumbnail in the header has its own."""
    start = content.rfind(_JPEG_SCAN) if header is None else header.pixels_start
    return content.rfind(_JPEG_END, max(start, 0)) >= 0
