"""Bags made and read for the tests, with rosbags alone."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

STORE = get_typestore(Stores.ROS2_HUMBLE)
T0 = 1_700_000_000_000_000_000
PERIOD = 100_000_000
CAMERA = "/camera/image_raw"


def make(kind: str, **fields: Any) -> Any:
    return STORE.types[kind](**fields)


def header(nanoseconds: int, frame: str = "camera_optical") -> Any:
    stamp = make(
        "builtin_interfaces/msg/Time",
        sec=nanoseconds // 10**9,
        nanosec=nanoseconds % 10**9,
    )
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame)


def image(pixels: np.ndarray, nanoseconds: int, encoding: str = "bgr8") -> bytes:
    """A serialised Image of a BGR image; rgb8 and mono8 too."""
    if encoding == "rgb8":
        pixels = pixels[..., ::-1]
    if encoding == "mono8":
        pixels = pixels[..., :1]
    height, width, channels = pixels.shape
    message = make(
        "sensor_msgs/msg/Image",
        header=header(nanoseconds),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * channels,
        data=np.ascontiguousarray(pixels).reshape(-1),
    )
    return bytes(STORE.serialize_cdr(message, "sensor_msgs/msg/Image"))


def compressed(pixels: np.ndarray, nanoseconds: int, kind: str = "png") -> bytes:
    message = make(
        "sensor_msgs/msg/CompressedImage",
        header=header(nanoseconds),
        format=f"bgr8; {kind} compressed bgr8",
        data=cv2.imencode(f".{kind}", pixels)[1].reshape(-1),
    )
    return bytes(STORE.serialize_cdr(message, "sensor_msgs/msg/CompressedImage"))


def text(value: str) -> bytes:
    return bytes(
        STORE.serialize_cdr(make("std_msgs/msg/String", data=value), "std_msgs/msg/String")
    )


def write_bag(
    path: Path,
    messages: Iterable[tuple[str, str, int, bytes]],
    *,
    storage: str = "sqlite3",
    definitions: dict[str, tuple[str, str]] | None = None,
) -> Path:
    """Write (topic, type, time, data) in the given order; types that ROS lacks are defined."""
    connections: dict[str, Any] = {}
    with Writer(path, version=8, storage_plugin=StoragePlugin[storage.upper()]) as writer:
        for topic, kind, time, data in messages:
            if topic not in connections:
                known = (definitions or {}).get(kind)
                how = (
                    {"typestore": STORE}
                    if known is None
                    else {"msgdef": known[0], "rihs01": known[1]}
                )
                connections[topic] = writer.add_connection(topic, kind, **how)
            writer.write(connections[topic], time, data)
    return path


def camera_bag(
    path: Path,
    images: list[np.ndarray],
    *,
    storage: str = "sqlite3",
    encoding: str = "bgr8",
    topic: str = CAMERA,
) -> Path:
    """Images every 100 ms, logged 7 ms after their stamps, and other messages between them."""
    messages = []
    for index, pixels in enumerate(images):
        stamp = T0 + index * PERIOD
        if encoding in ("png", "jpg"):
            one = (topic, "sensor_msgs/msg/CompressedImage")
            data = compressed(pixels, stamp, encoding)
        else:
            one = (topic, "sensor_msgs/msg/Image")
            data = image(pixels, stamp, encoding)
        messages.append((*one, stamp + 7_000_000, data))
        messages.append(("/note", "std_msgs/msg/String", stamp + 9_000_000, text(f"note {index}")))
    return write_bag(path, messages, storage=storage)


def read_bag(path: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Log time and bytes of the messages of each topic."""
    found: dict[str, list[tuple[int, bytes]]] = {}
    with Reader(path) as reader:
        for connection in reader.connections:
            found.setdefault(connection.topic, [])
        for connection, time, data in reader.messages():
            found[connection.topic].append((time, bytes(data)))
    return found


def read_results(path: Path) -> dict[str, list[SimpleNamespace]]:
    """Messages by topic, decoded with the definitions that the bag itself holds."""
    from rosbags.highlevel import AnyReader

    found: dict[str, list[SimpleNamespace]] = {}
    with AnyReader([path]) as reader:
        for connection, time, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            found.setdefault(connection.topic, []).append(
                SimpleNamespace(time=time, type=connection.msgtype, message=message)
            )
    return found
