"""Conversion between image messages and arrays.

Works with the messages of rclpy (`array.array`), of rosbags (NumPy) and of any other library with
the same fields.
"""

from __future__ import annotations

import re
import sys
from typing import Any, Literal

import numpy as np

from ood_seg.io.images import decode_image
from ood_seg.ros.fields import Header, Message

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"

# Positions of blue, green and red among the channels of each encoding.
_RGB, _BGR = slice(2, None, -1), slice(0, 3)
_COLOURS = {"rgb8": _RGB, "bgr8": _BGR, "rgba8": _RGB, "bgra8": _BGR}
_LAYOUTS: dict[str, tuple[type, int]] = {
    "rgb8": (np.uint8, 3),
    "bgr8": (np.uint8, 3),
    "rgba8": (np.uint8, 4),
    "bgra8": (np.uint8, 4),
    "mono8": (np.uint8, 1),
    "mono16": (np.uint16, 1),
    "32FC1": (np.float32, 1),
}
_REMEDIES = (
    (("mono", "8UC1", "16UC1"), "networks trained on colour cannot use a grey camera"),
    (("bayer",), "run a debayering node, such as that of image_proc, before this one"),
    (
        ("yuv", "uyvy", "yuyv", "nv12", "nv21", "nv24"),
        "set the camera driver to rgb8",
    ),
    (("rgb16", "bgr16", "rgba16", "bgra16"), "convert to 8 bits per channel first"),
    (("8UC", "8SC"), "the order of its channels is unknown; publish rgb8 or bgr8"),
    (("32F", "64F", "16S", "32S"), "not a colour image; is it a depth topic?"),
)
_COMPRESSED_FORMATS = re.compile("jpe?g|png")
_STORED_AS_RGB = re.compile("compressed;? *rgb")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def image_of(message: Any) -> np.ndarray:
    """Return the image in an `Image` or `CompressedImage` message as `(H, W, 3)` uint8 BGR.

    rgb8, bgr8, rgba8 and bgra8 are read; alpha is dropped.

    Raises:
        ValueError: another encoding (with the remedy), or data that do not fit the message.
    """
    if hasattr(message, "encoding"):
        return _read_raw(message)
    return _read_compressed(message)


def _read_raw(message: Any) -> np.ndarray:
    encoding = message.encoding
    if encoding not in _COLOURS:
        raise ValueError(
            f"image encoding: expected one of {', '.join(_COLOURS)}, got {encoding!r}"
            + _remedy(encoding)
        )
    pixels = array_of(message)
    return np.ascontiguousarray(pixels[..., _COLOURS[encoding]])


def _remedy(encoding: str) -> str:
    for prefixes, remedy in _REMEDIES:
        if encoding.lower().startswith(tuple(prefix.lower() for prefix in prefixes)):
            return f"; {remedy}"
    return ""


def array_of(message: Any) -> np.ndarray:
    """Return the values of an `Image` message as stored, without the padding of its rows.

    Args:
        message: `sensor_msgs/Image` in rgb8, bgr8, rgba8, bgra8, mono8, mono16 or 32FC1.

    Returns:
        `(H, W, channels)`, or `(H, W)` with one channel; uint8, or uint16 or float32 in native
        order.

    Raises:
        ValueError: another encoding, no pixels, or `step` or the length of the data does not fit
            the size.
    """
    if message.encoding not in _LAYOUTS:
        raise ValueError(
            f"image encoding: expected one of {', '.join(_LAYOUTS)}, got {message.encoding!r}"
        )
    kind, channels = _LAYOUTS[message.encoding]
    height, width, step = int(message.height), int(message.width), int(message.step)
    data = _octets(message.data)
    row = width * channels * np.dtype(kind).itemsize
    if height == 0 or width == 0:
        raise ValueError(f"image: expected at least one pixel, got {width}x{height}")
    if step < row:
        raise ValueError(
            f"image step: expected at least {row} bytes for {width} pixels of "
            f"{message.encoding}, got {step}"
        )
    if len(data) != step * height:
        raise ValueError(
            f"image data: expected {step * height} bytes ({height} rows of {step}), got "
            f"{len(data)}; the message is truncated or its size is wrong"
        )
    order: Literal[">", "<"] = ">" if message.is_bigendian else "<"
    rows = np.ascontiguousarray(data.reshape(height, step)[:, :row])
    values: np.ndarray = rows.view(np.dtype(kind).newbyteorder(order)).astype(kind, copy=False)
    return values.reshape(height, width, channels) if channels > 1 else values


def _octets(data: Any) -> np.ndarray:
    if isinstance(data, np.ndarray):
        return data.view(np.uint8)
    # Buffers (bytes, array.array) are not copied; lists, which some DDS libraries use, are.
    try:
        return np.frombuffer(data, np.uint8)
    except TypeError:
        return np.array(data, np.uint8)


def _read_compressed(message: Any) -> np.ndarray:
    _check_format(message.format)
    data = _octets(message.data).tobytes()
    if not data.startswith(_SIGNATURES):
        raise ValueError("compressed image: its data are neither JPEG nor PNG")
    # The EXIF orientation is not applied: results must lie on the pixels that CameraInfo describes.
    pixels = decode_image(data, "of a compressed message", apply_orientation=False)
    # After `compressed`, image_transport states the order of channels that was passed to its
    # encoder; `rgb` means that red and blue are swapped in the file.
    order = _RGB if _STORED_AS_RGB.search(message.format.lower()) else _BGR
    return np.ascontiguousarray(pixels[..., order])


def _check_format(text: str) -> None:
    """Refuse depth images and videos; for anything else the data are decisive.

    Publishers write `jpeg`, `image/jpeg`, `mjpeg`, `rgb8; jpeg compressed bgr8`, or nothing.
    """
    lower = text.lower()
    if "compresseddepth" in lower or (text and not _COMPRESSED_FORMATS.search(lower)):
        raise ValueError(
            f"compressed image format: expected jpeg or png, got {text!r}; set the image_transport "
            "plugin of the publisher to `compressed` with jpeg or png"
        )


def image_message(pixels: np.ndarray, encoding: str, header: Header) -> Message:
    """Return an array as `sensor_msgs/msg/Image`.

    Args:
        pixels: `(H, W, 3)` uint8 for rgb8 and bgr8, with the channels in this order; `(H, W)` uint8
            for mono8, uint16 for mono16; `(H, W)` float32 for 32FC1.
        encoding: one of these.
        header: stamp and coordinate frame.

    Raises:
        ValueError: shape or type of `pixels` does not fit `encoding`.
    """
    kind, channels = _LAYOUTS[encoding]
    shape = pixels.shape[2:] or (1,)
    if pixels.dtype != kind or pixels.ndim not in (2, 3) or shape != (channels,):
        raise ValueError(
            f"{encoding} image: expected {channels} channel(s) of {np.dtype(kind)}, got shape "
            f"{pixels.shape} of {pixels.dtype}"
        )
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).view(np.uint8).reshape(-1)
    return Message(
        IMAGE,
        {
            "header": header.message(),
            "height": height,
            "width": width,
            "encoding": encoding,
            "is_bigendian": int(sys.byteorder == "big"),
            "step": width * channels * pixels.itemsize,
            "data": data,
        },
    )
