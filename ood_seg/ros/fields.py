"""Messages as trees of fields, which `build` converts to the classes of any ROS runtime.

rclpy, rosbags and DDS libraries have their own message classes, which differ in the type of byte
sequences. Messages are therefore composed once, as `Message` trees.
"""

from __future__ import annotations

import array
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

TIME = "builtin_interfaces/msg/Time"
HEADER = "std_msgs/msg/Header"


class Message(NamedTuple):
    """A message: its type, such as `sensor_msgs/msg/Image`, and its fields by name.

    Values are numbers, strings, arrays (`uint8[]`, `float64[36]`), further messages, or lists of
    messages. A ROS `byte` is a `Byte`.
    """

    type: str
    fields: dict[str, Any]


class Byte(int):
    """A value of the ROS type `byte`, which is `bytes` in rclpy and an integer elsewhere."""


@dataclass(frozen=True)
class Header:
    """Stamp and coordinate frame of a message.

    Attributes:
        seconds: integer seconds of the stamp.
        nanoseconds: its fraction, 0..999999999.
        frame_id: coordinate frame.
    """

    seconds: int
    nanoseconds: int
    frame_id: str = ""

    @classmethod
    def of(cls, message: Any) -> Header:
        """Return the header of a message of any runtime."""
        header = message.header
        return cls(header.stamp.sec, header.stamp.nanosec, header.frame_id)

    @classmethod
    def at(cls, nanoseconds: int, frame_id: str = "") -> Header:
        """Return the header of a time in nanoseconds since 1970."""
        return cls(*divmod(nanoseconds, 1_000_000_000), frame_id)

    @property
    def stamp(self) -> float:
        """The stamp in seconds."""
        return self.seconds + self.nanoseconds * 1e-9

    def message(self) -> Message:
        """Return the header as `std_msgs/msg/Header`."""
        stamp = Message(TIME, {"sec": self.seconds, "nanosec": self.nanoseconds})
        return Message(HEADER, {"stamp": stamp, "frame_id": self.frame_id})


@dataclass(frozen=True)
class Runtime:
    """The message classes of a library and the types of their fields.

    Attributes:
        find: returns the class of a type name; its arguments are all fields, as keywords.
        octets: converts a flat uint8 array to the type of `uint8[]`.
        byte: converts an integer to the type of `byte`.
    """

    find: Callable[[str], Callable[..., Any]]
    octets: Callable[[np.ndarray], Any] = lambda values: values
    byte: Callable[[int], Any] = int


def build(runtime: Runtime, message: Message) -> Any:
    """Return the message as an object of the classes of a runtime."""
    values = {name: _value(runtime, value) for name, value in message.fields.items()}
    return runtime.find(message.type)(**values)


def _value(runtime: Runtime, value: Any) -> Any:
    if isinstance(value, Message):
        return build(runtime, value)
    if isinstance(value, list):
        return [_value(runtime, item) for item in value]
    if isinstance(value, Byte):
        return runtime.byte(value)
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return runtime.octets(value)
    return value


def rclpy_runtime() -> Runtime:
    """Return the runtime of the Python message packages of a ROS 2 installation."""

    def find(name: str) -> Callable[..., Any]:
        package, _, kind = name.partition("/msg/")
        return getattr(importlib.import_module(f"{package}.msg"), kind)

    # Its setters accept `array.array` as it is and check any other type value by value.
    return Runtime(
        find,
        octets=lambda values: array.array("B", values.tobytes()),
        byte=lambda value: bytes([value]),
    )


def rosbags_runtime(store: Any) -> Runtime:
    """Return the runtime of a type store of rosbags."""
    return Runtime(store.types.__getitem__)
