"""Image messages as arrays and arrays as image messages.

Works on the messages of rclpy (`array.array`) and of rosbags (NumPy) alike, and on anything else
with the same fields.
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

# Where blue, green and red are among the channels of each encoding.
_RGB, _BGR = slice(2, None, -1), slice(0, 3)
_COLOURS = {"rgb8": _RGB, "bgr8": _BGR, "rgba8": _RGB, "bgra8": _BGR}
_LAYOUTS: dict[str, tuple[type, int]] = {
    "rgb8": (np.uint8, 3),
    "bgr8": (np.uint8, 3),
    "rgba8": (np.uint8, 4),
    "bgra8": (np.uint8, 4),
    "mono8": (np.uint8, 1),
    "32FC1": (np.float32, 1),
}
_REMEDIES = (
    (("mono", "8UC1", "16UC1"), "a grey camera cannot be used with a network trained on colour"),
    (("bayer",), "put a debayering node such as image_proc's before this one"),
    (("yuv", "uyvy", "yuyv", "nv12", "nv21", "nv24"), "set the camera driver's output to rgb8"),
    (("rgb16", "bgr16", "rgba16", "bgra16"), "convert to 8 bits per channel first"),
    (("8UC", "8SC"), "it does not say the order of the channels; publish rgb8 or bgr8"),
    (("32F", "64F", "16S", "32S"), "this is no colour picture; is it a depth topic?"),
)
_COMPRESSED_FORMATS = re.compile("jpe?g|png")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


def read_image(message: Any) -> np.ndarray:
    """Return the colour picture of an `Image` or `CompressedImage` as `(H, W, 3)` uint8 BGR.

    rgb8, bgr8, rgba8 and bgra8 are read, alpha is dropped.

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
    pixels = read_array(message)
    return np.ascontiguousarray(pixels[..., _COLOURS[encoding]])


def _remedy(encoding: str) -> str:
    for prefixes, remedy in _REMEDIES:
        if encoding.lower().startswith(tuple(prefix.lower() for prefix in prefixes)):
            return f"; {remedy}"
    return ""


def read_array(message: Any) -> np.ndarray:
    """Return the values of an `Image` as they are, without the padding at the end of its rows.

    Args:
        message: `sensor_msgs/Image` in rgb8, bgr8, rgba8, bgra8, mono8 or 32FC1. Its byte order
            matters to 32FC1 only.

    Returns:
        `(H, W, channels)`, or `(H, W)` with one channel; uint8, or float32 in native order.

    Raises:
        ValueError: another encoding, no pixels, or a `step` or an amount of data that does not
            fit the size.
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
        raise ValueError(f"image: expected pixels, got {width}x{height}")
    if step < row:
        raise ValueError(
            f"image step: expected at least {row} bytes for {width} pixels of "
            f"{message.encoding}, got {step}"
        )
    if len(data) != step * height:
        raise ValueError(
            f"image data: expected {step * height} bytes ({height} rows of {step}), got "
            f"{len(data)}; the message was cut short or its size is wrong"
        )
    order: Literal[">", "<"] = ">" if message.is_bigendian else "<"
    rows = np.ascontiguousarray(data.reshape(height, step)[:, :row])
    values: np.ndarray = rows.view(np.dtype(kind).newbyteorder(order)).astype(kind, copy=False)
    return values.reshape(height, width, channels) if channels > 1 else values


def _octets(data: Any) -> np.ndarray:
    if isinstance(data, np.ndarray):
        return data.view(np.uint8)
    # A buffer (bytes, array.array) is not copied; a list, as some DDS libraries give, is.
    try:
        return np.frombuffer(data, np.uint8)
    except TypeError:
        return np.array(data, np.uint8)


def _read_compressed(message: Any) -> np.ndarray:
    _check_format(message.format)
    data = _octets(message.data).tobytes()
    if not data.startswith(_SIGNATURES):
        raise ValueError("compressed image: its data are neither jpeg nor png")
    # The EXIF orientation is not applied: results must lie on the pixels that CameraInfo describes.
    pixels = decode_image(data, "of a compressed message", apply_orientation=False)
    # image_transport names the channel order that its encoder was given after `compressed`;
    # `rgb` there means that red and blue are swapped in the file.
    order = _RGB if "compressed rgb" in message.format else _BGR
    return np.ascontiguousarray(pixels[..., order])


def _check_format(text: str) -> None:
    """Refuse depth images and videos; otherwise the data show what they are.

    Publishers write `jpeg`, `image/jpeg`, `mjpeg`, `rgb8; jpeg compressed bgr8`, or nothing.
    """
    lower = text.lower()
    if "compresseddepth" in lower or (text and not _COMPRESSED_FORMATS.search(lower)):
        raise ValueError(
            f"compressed image format: expected jpeg or png, got {text!r}; set the publisher's "
            "image_transport plug-in to `compressed` with jpeg or png"
        )


def image_message(pixels: np.ndarray, encoding: str, header: Header) -> Message:
    """Return a picture as `sensor_msgs/msg/Image`.

    Args:
        pixels: `(H, W, 3)` uint8 for rgb8 and bgr8, in that order of channels; `(H, W)` uint8
            for mono8; `(H, W)` float32 for 32FC1.
        encoding: one of these.
        header: stamp and frame.

    Raises:
        ValueError: shape or type of `pixels` is not that of `encoding`.
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
