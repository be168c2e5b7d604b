"""ROS 2 messages as DDS sees them: IDL types written by hand, and topics named as by rmw.

Annotations are read when the classes are made: not postponed here.
"""

import os
from dataclasses import dataclass, fields
from typing import Any

import cyclonedds.idl.types as t
from cyclonedds.core import Policy, Qos
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.topic import Topic
from cyclonedds.util import duration

LOOPBACK = (
    "<CycloneDDS><Domain><General><Interfaces><NetworkInterface name='lo' multicast='false'/>"
    "</Interfaces><AllowMulticast>false</AllowMulticast></General><Discovery>"
    "<ParticipantIndex>auto</ParticipantIndex><Peers><Peer address='127.0.0.1'/></Peers>"
    "</Discovery></Domain></CycloneDDS>"
)
RELIABLE = Policy.Reliability.Reliable(duration(seconds=1))
SENSOR_DATA = Qos(Policy.Reliability.BestEffort, Policy.History.KeepLast(5))
LATCHED = Qos(RELIABLE, Policy.Durability.TransientLocal, Policy.History.KeepLast(1))
USUAL = Qos(RELIABLE, Policy.History.KeepLast(10))


def open_participant(domain: int) -> DomainParticipant:
    os.environ["CYCLONEDDS_URI"] = LOOPBACK
    return DomainParticipant(domain)


def topic(participant: DomainParticipant, name: str, kind: type) -> Topic:
    """The DDS topic of a ROS topic."""
    return Topic(participant, f"rt{name}", kind)


@dataclass
class Time(IdlStruct, typename="builtin_interfaces::msg::dds_::Time_"):
    sec: t.int32
    nanosec: t.uint32


@dataclass
class Header(IdlStruct, typename="std_msgs::msg::dds_::Header_"):
    stamp: Time
    frame_id: str


@dataclass
class Image(IdlStruct, typename="sensor_msgs::msg::dds_::Image_"):
    header: Header
    height: t.uint32
    width: t.uint32
    encoding: str
    is_bigendian: t.uint8
    step: t.uint32
    data: t.sequence[t.uint8]


@dataclass
class Point(IdlStruct, typename="geometry_msgs::msg::dds_::Point_"):
    x: t.float64
    y: t.float64
    z: t.float64


@dataclass
class Quaternion(IdlStruct, typename="geometry_msgs::msg::dds_::Quaternion_"):
    x: t.float64
    y: t.float64
    z: t.float64
    w: t.float64


@dataclass
class Pose(IdlStruct, typename="geometry_msgs::msg::dds_::Pose_"):
    position: Point
    orientation: Quaternion


@dataclass
class PoseWithCovariance(IdlStruct, typename="geometry_msgs::msg::dds_::PoseWithCovariance_"):
    pose: Pose
    covariance: t.array[t.float64, 36]


@dataclass
class Point2D(IdlStruct, typename="vision_msgs::msg::dds_::Point2D_"):
    x: t.float64
    y: t.float64


@dataclass
class Pose2D(IdlStruct, typename="vision_msgs::msg::dds_::Pose2D_"):
    position: Point2D
    theta: t.float64


@dataclass
class BoundingBox2D(IdlStruct, typename="vision_msgs::msg::dds_::BoundingBox2D_"):
    center: Pose2D
    size_x: t.float64
    size_y: t.float64


@dataclass
class ObjectHypothesis(IdlStruct, typename="vision_msgs::msg::dds_::ObjectHypothesis_"):
    class_id: str
    score: t.float64


@dataclass
class ObjectHypothesisWithPose(
    IdlStruct, typename="vision_msgs::msg::dds_::ObjectHypothesisWithPose_"
):
    hypothesis: ObjectHypothesis
    pose: PoseWithCovariance


@dataclass
class Detection2D(IdlStruct, typename="vision_msgs::msg::dds_::Detection2D_"):
    header: Header
    results: t.sequence[ObjectHypothesisWithPose]
    bbox: BoundingBox2D
    id: str


@dataclass
class Detection2DArray(IdlStruct, typename="vision_msgs::msg::dds_::Detection2DArray_"):
    header: Header
    detections: t.sequence[Detection2D]


@dataclass
class VisionClass(IdlStruct, typename="vision_msgs::msg::dds_::VisionClass_"):
    class_id: t.uint16
    class_name: str


@dataclass
class LabelInfo(IdlStruct, typename="vision_msgs::msg::dds_::LabelInfo_"):
    header: Header
    class_map: t.sequence[VisionClass]
    threshold: t.float32


@dataclass
class KeyValue(IdlStruct, typename="diagnostic_msgs::msg::dds_::KeyValue_"):
    key: str
    value: str


@dataclass
class DiagnosticStatus(IdlStruct, typename="diagnostic_msgs::msg::dds_::DiagnosticStatus_"):
    level: t.byte
    name: str
    message: str
    hardware_id: str
    values: t.sequence[KeyValue]


@dataclass
class DiagnosticArray(IdlStruct, typename="diagnostic_msgs::msg::dds_::DiagnosticArray_"):
    header: Header
    status: t.sequence[DiagnosticStatus]


KINDS: dict[str, type] = {
    kind.__idl_typename__.replace("::msg::dds_::", "/msg/").rstrip("_"): kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, IdlStruct) and kind is not IdlStruct
}


def idl_class(name: str) -> Any:
    """What stands in for a message class of rclpy; it takes the values that rclpy takes."""
    kind = KINDS.get(name)
    if kind is None:
        return None

    def make(**values: Any) -> Any:
        return kind(**{field.name: _plain(values[field.name]) for field in fields(kind)})

    make.KIND = kind
    return make


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):  # a ROS byte
        return value[0]
    if hasattr(value, "typecode"):  # uint8[]
        return value.tobytes()
    return value.tolist() if hasattr(value, "tolist") else value
