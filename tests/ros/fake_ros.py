"""As much of rclpy as the node uses, in this process; its messages are as strict as rclpy's."""

from __future__ import annotations

import array
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype

from ood_seg.ros.bag_files import type_store

NODE_FOLDER = Path(__file__).resolve().parents[2] / "ros2" / "ood_seg_ros"
STORE = type_store()
PACKAGES = (
    "builtin_interfaces",
    "std_msgs",
    "geometry_msgs",
    "sensor_msgs",
    "vision_msgs",
    "diagnostic_msgs",
)
_CLASSES: dict[str, type] = {}


def message_class(name: str) -> type:
    """The class of a message type; its constructor refuses what rclpy would refuse."""
    if name not in _CLASSES:
        fields = dict(STORE.fielddefs[name][1])

        def __init__(self, **values: Any) -> None:
            assert set(values) == set(fields), (name, set(values) ^ set(fields))
            for field, value in values.items():
                _check(f"{name}.{field}", fields[field], value)
            self.__dict__.update(values)

        _CLASSES[name] = type(name.rpartition("/")[2], (), {"__init__": __init__, "TYPE": name})
    return _CLASSES[name]


def _check(where: str, description: Any, value: Any) -> None:
    kind, detail = description
    if kind == Nodetype.NAME:
        assert type(value) is message_class(detail), where
    elif kind == Nodetype.BASE:
        _check_base(where, detail[0], value)
    elif detail[0] == (Nodetype.BASE, ("uint8", 0)):
        assert isinstance(value, array.array), where
        assert value.typecode == "B", where
    elif kind == Nodetype.ARRAY:
        assert isinstance(value, np.ndarray), where
        assert (value.dtype, value.size) == (np.float64, detail[1]), where
    else:
        assert isinstance(value, list), where
        for item in value:
            _check(where, detail[0], item)


def _check_base(where: str, base: str, value: Any) -> None:
    if base == "string":
        assert isinstance(value, str), where
    elif base == "byte":
        assert isinstance(value, bytes), where
        assert len(value) == 1, where
    elif base.startswith("float"):
        assert isinstance(value, float), where
    else:
        bits = int(base.lstrip("uint"))
        assert isinstance(value, int), where
        low, high = (0, 2**bits) if base[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        assert low <= value < high, where


class Publisher:
    def __init__(self, kind: type, qos: Any) -> None:
        self.kind, self.qos = kind, qos
        self.sent: list[Any] = []
        self.subscribers = 1

    def publish(self, message: Any) -> None:
        assert type(message) is self.kind
        self.sent.append(message)

    def get_subscription_count(self) -> int:
        return self.subscribers


class Node:
    """Keeps what the node asked for."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        self.name = name
        self.parameters = dict(parameters)
        self.descriptors: dict[str, Any] = {}
        self.publishers: dict[str, Any] = {}
        self.subscriptions: dict[str, Any] = {}
        self.timers: list[tuple[float, Any]] = []
        self.logged: list[tuple[str, str]] = []
        self.on_set: list[Any] = []
        self.destroyed = False

    def get_name(self) -> str:
        return self.name

    def declare_parameter(self, name: str, default: Any, descriptor: Any) -> Any:
        self.descriptors[name] = descriptor
        value = self.parameters.setdefault(name, default)
        if not descriptor.dynamic_typing:
            assert type(value) is type(default), name
        return SimpleNamespace(name=name, value=value)

    def set_parameters(self, **values: Any) -> Any:
        """What `ros2 param set` does."""
        fixed = [name for name in values if self.descriptors[name].read_only]
        if fixed:
            return SimpleNamespace(successful=False, reason=f"{fixed[0]} is read-only")
        changed = [SimpleNamespace(name=name, value=value) for name, value in values.items()]
        for callback in self.on_set:
            answer = callback(changed)
            if not answer.successful:
                return answer
        self.parameters.update(values)
        return answer

    def add_on_set_parameters_callback(self, callback: Any) -> None:
        self.on_set.append(callback)

    def create_publisher(self, kind: type, topic: str, qos: Any) -> Any:
        publisher = self.make_publisher(kind, self.resolve(topic), qos)
        self.publishers[self.resolve(topic)] = publisher
        return publisher

    def make_publisher(self, kind: type, topic: str, qos: Any) -> Any:
        return Publisher(kind, qos)

    def create_subscription(self, kind: type, topic: str, callback: Any, qos: Any) -> None:
        self.subscriptions[self.resolve(topic)] = SimpleNamespace(
            kind=kind, callback=callback, qos=qos
        )

    def resolve(self, topic: str) -> str:
        if topic.startswith("~/"):
            return f"/{self.name}/{topic[2:]}"
        return topic if topic.startswith("/") else f"/{topic}"

    def create_timer(self, period: float, callback: Any) -> None:
        self.timers.append((period, callback))

    def get_clock(self) -> Any:
        return SimpleNamespace(now=lambda: SimpleNamespace(nanoseconds=1_700_000_123_000_000_456))

    def get_logger(self) -> Any:
        def log(level: str) -> Any:
            return lambda text: self.logged.append((level, text))

        return SimpleNamespace(warning=log("warning"), fatal=log("fatal"))

    def destroy_node(self) -> None:
        self.destroyed = True


def install(
    monkeypatch: Any,
    parameters: dict[str, Any] | None = None,
    *,
    classes: Any = message_class,
    node_class: type = Node,
) -> SimpleNamespace:
    """Put rclpy and the message packages in place; returns what `rclpy` saw."""
    monkeypatch.syspath_prepend(str(NODE_FOLDER))
    seen = SimpleNamespace(nodes=[], spun=0, shut_down=False, spin=lambda node: None)

    def create_node(name: str) -> Any:
        seen.nodes.append(node_class(name, parameters or {}))
        return seen.nodes[-1]

    def spin(node: Any) -> None:
        seen.spun += 1
        seen.spin(node)

    modules = {
        "rclpy": dict(
            init=lambda args=None: None,
            create_node=create_node,
            spin=spin,
            try_shutdown=lambda: setattr(seen, "shut_down", True),
        ),
        "rclpy.qos": dict(
            QoSProfile=SimpleNamespace,
            DurabilityPolicy=SimpleNamespace(TRANSIENT_LOCAL="transient_local"),
            qos_profile_sensor_data="sensor_data",
        ),
        "rclpy.executors": dict(
            ExternalShutdownException=type("ExternalShutdownException", (Exception,), {})
        ),
        "rcl_interfaces": {},
        "rcl_interfaces.msg": dict(
            ParameterDescriptor=SimpleNamespace,
            SetParametersResult=lambda successful, reason="": SimpleNamespace(
                successful=successful, reason=reason
            ),
        ),
    }
    for name, members in modules.items():
        _install(monkeypatch, name, members)
    for package in PACKAGES:
        kinds = [name for name in STORE.fielddefs if name.startswith(f"{package}/msg/")]
        _install(monkeypatch, package, {})
        _install(
            monkeypatch,
            f"{package}.msg",
            {name.rpartition("/")[2]: classes(name) for name in kinds if classes(name)},
        )
    return seen


def _install(monkeypatch: Any, name: str, members: dict[str, Any]) -> None:
    module = ModuleType(name)
    module.__dict__.update(members)
    monkeypatch.setitem(sys.modules, name, module)


def image_message(pixels: np.ndarray, *, seconds: int = 1_700_000_000, encoding="bgr8") -> Any:
    """An Image message of rclpy."""
    height, width = pixels.shape[:2]
    stamp = message_class("builtin_interfaces/msg/Time")(sec=seconds, nanosec=5)
    header = message_class("std_msgs/msg/Header")(stamp=stamp, frame_id="front")
    return message_class("sensor_msgs/msg/Image")(
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=width * 3,
        data=array.array("B", pixels.tobytes()),
    )
