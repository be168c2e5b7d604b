"""The node that connects `ood_seg.ros` to ROS 2.

```
image -> callback -> Worker (newest frame wins) -> image_of -> Segmentor -> ~/labels, ...
timer, each second -> Health -> /diagnostics
```

rclpy and the message packages are imported when the node is created.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import Any

from ood_seg.perception.core.decision import choose_threshold
from ood_seg.perception.core.regions import parse_region
from ood_seg.perception.core.types import Frame
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.ros.fields import Header, build, rclpy_runtime
from ood_seg.ros.health import DIAGNOSTICS, Health, diagnostics
from ood_seg.ros.images import COMPRESSED_IMAGE, IMAGE, image_of
from ood_seg.ros.messages import LABEL_INFO, TOPICS, describe, label_info, result_messages
from ood_seg.ros.scheduling import Worker

NODE_NAME = "ood_seg"
TRANSPORTS = {"raw": ("image", IMAGE), "compressed": ("image/compressed", COMPRESSED_IMAGE)}
# Default and description.
FIXED_PARAMETERS: dict[str, tuple[Any, str]] = {
    "model": ("", "exported model, an .onnx file"),
    "runtime": ("onnxruntime", "onnxruntime or openvino"),
    "image_transport": ("raw", "raw or compressed"),
}
PARAMETERS: dict[str, tuple[Any, str]] = {
    "operating_point": ("", "name in the model, or a score; empty: the first of the model"),
    "min_area": (0, "pixels of the smallest object; 0: as in the model"),
    "region": (
        "",
        "classes, polygon or mask; empty: pixels may be flagged in the whole image",
    ),
    "max_age": (1.0, "seconds without an image until the camera counts as stopped"),
    **{f"publish_{topic}": (True, f"whether ~/{topic} is published") for topic in TOPICS},
}
_REPORT_PERIOD_S = 1.0
_STOP_TIMEOUT_S = 5.0


class AnomalyNode:
    """Subscribes to a camera and publishes the results of a model.

    Args:
        node: an `rclpy` node.
        segmentor: the model; None: that of the parameters `model` and `runtime`.

    Raises:
        FileNotFoundError: no such model.
        ValueError: an invalid parameter; the message names it.
    """

    def __init__(self, node: Any, segmentor: Segmentor | None = None) -> None:
        self._node = node
        self._runtime = rclpy_runtime()
        fixed, values = _declare(node)
        if fixed["image_transport"] not in TRANSPORTS:
            raise ValueError(
                f"image_transport: expected raw or compressed, got {fixed['image_transport']!r}"
            )
        self._segmentor = segmentor or _load(fixed["model"], fixed["runtime"])
        self._model = fixed["model"]
        self._default_rule = self._segmentor.decision_rule
        self._values = values
        self.health = Health()
        self._apply(values)
        if self._segmentor.threshold is None:
            node.get_logger().warning(
                "no operating point: ~/anomaly_mask and ~/objects are not published; set the "
                "parameter operating_point"
            )
        self._worker = Worker(self._handle, self.health)
        self._publishers = self._create_publishers()
        self._send("label_info", label_info(self._segmentor, self._now()))
        node.add_on_set_parameters_callback(self._on_set)
        node.create_timer(_REPORT_PERIOD_S, self._report)
        topic, kind = TRANSPORTS[fixed["image_transport"]]
        self._subscribe(topic, kind)

    def stop(self) -> bool:
        """Finish the current image; return whether that was done in time."""
        return self._worker.stop(_STOP_TIMEOUT_S)

    def _create_publishers(self) -> dict[str, Any]:
        from rclpy.qos import DurabilityPolicy, QoSProfile

        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        wanted = {name: (f"~/{name}", kind, 1) for name, kind in TOPICS.items()}
        wanted["label_info"] = ("~/label_info", LABEL_INFO, latched)
        wanted["diagnostics"] = ("/diagnostics", DIAGNOSTICS, 10)
        return {
            name: self._node.create_publisher(self._runtime.find(kind), topic, qos)
            for name, (topic, kind, qos) in wanted.items()
        }

    def _subscribe(self, topic: str, kind: str) -> None:
        from rclpy.qos import qos_profile_sensor_data

        self._node.create_subscription(
            self._runtime.find(kind), topic, self._worker.submit, qos_profile_sensor_data
        )

    def _handle(self, message: Any) -> None:
        """Analyse one image message, in the thread of the worker."""
        header = Header.of(message)
        frame = Frame(image_of(message), header.frame_id)
        (prediction,) = self._segmentor.predict([frame.image])
        result = self._segmentor.result(frame, prediction)
        for name, one in result_messages(result, header, self._wanted()).items():
            self._send(name, one)

    def _wanted(self) -> list[str]:
        """Return the topics that are enabled and have subscribers."""
        return [
            topic
            for topic in TOPICS
            if self._values[f"publish_{topic}"] and self._publishers[topic].get_subscription_count()
        ]

    def _send(self, name: str, message: Any) -> None:
        self._publishers[name].publish(build(self._runtime, message))

    def _report(self) -> None:
        level, summary, values = self.health.report(time.monotonic())
        values = {"model": self._model, **describe(self._segmentor), **values}
        name = f"{self._node.get_name()}: anomaly segmentation"
        report = diagnostics(
            level, summary, values, self._now(), name=name, hardware_id=self._model
        )
        self._send("diagnostics", report)

    def _now(self) -> Header:
        return Header.at(self._node.get_clock().now().nanoseconds)

    def _on_set(self, parameters: list[Any]) -> Any:
        """Apply changed parameters, all or none."""
        from rcl_interfaces.msg import SetParametersResult

        changed = {one.name: one.value for one in parameters if one.name in PARAMETERS}
        try:
            self._apply({**self._values, **changed})
        except (ValueError, FileNotFoundError) as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._send("label_info", label_info(self._segmentor, self._now()))
        return SetParametersResult(successful=True)

    def _apply(self, values: dict[str, Any]) -> None:
        """Check the values, then use them for the next images."""
        if not values["max_age"] > 0:
            raise ValueError(f"max_age: expected seconds > 0, got {values['max_age']}")
        if values["min_area"] < 0:
            raise ValueError(f"min_area: expected pixels >= 0, got {values['min_area']}")
        changes: dict[str, Any] = {}
        if values["operating_point"] != "":
            name, threshold = choose_threshold(
                values["operating_point"], self._segmentor.thresholds
            )
            changes |= {"operating_point": name, "threshold": threshold}
        if values["min_area"]:
            changes["min_area"] = values["min_area"]
        if values["region"]:
            changes["region"] = parse_region(values["region"], self._segmentor.palette.classes)
        self._segmentor.decision_rule = replace(self._default_rule, **changes)
        self.health.max_age = values["max_age"]
        self._values = values


def _declare(node: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Declare all parameters; return the values of the fixed ones and of the others."""
    from rcl_interfaces.msg import ParameterDescriptor

    def declare(name: str, default: Any, description: str, *, fixed: bool) -> Any:
        # A launch file converts the score "1.5" to a number; names are text.
        either = name == "operating_point"
        descriptor = ParameterDescriptor(
            description=description, read_only=fixed, dynamic_typing=either
        )
        return node.declare_parameter(name, default, descriptor).value

    return (
        {name: declare(name, *one, fixed=True) for name, one in FIXED_PARAMETERS.items()},
        {name: declare(name, *one, fixed=False) for name, one in PARAMETERS.items()},
    )


def _load(model: str, runtime: str) -> Segmentor:
    from ood_seg.deploy import OnnxAnomalySegmentor

    if not model:
        raise ValueError("model: expected the path of an exported .onnx file, got none")
    return OnnxAnomalySegmentor(model, runtime=runtime)


def main(args: list[str] | None = None) -> int:
    """Run the node until it is stopped; 1 if it could not start."""
    import rclpy
    from rclpy.executors import ExternalShutdownException

    rclpy.init(args=args)
    node = rclpy.create_node(NODE_NAME)
    anomaly_node = None
    try:
        anomaly_node = AnomalyNode(node)
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (ValueError, FileNotFoundError, ImportError) as error:
        node.get_logger().fatal(str(error))
        return 1
    finally:
        if anomaly_node is not None:
            anomaly_node.stop()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
