"""Results as ROS messages; each has the stamp and the coordinate frame of its image.

| topic            | type                         | content                                       |
|------------------|------------------------------|-----------------------------------------------|
| `~/labels`       | sensor_msgs/Image mono8      | number of the most likely known class; mono16 |
|                  |                              | for more than 254 classes                     |
| `~/anomaly`      | sensor_msgs/Image 32FC1      | probability of an anomaly; without a          |
|                  |                              | calibration, the score                        |
| `~/anomaly_mask` | sensor_msgs/Image mono8      | 255 where an anomaly is flagged, else 0       |
| `~/overlay`      | sensor_msgs/Image rgb8       | flagged pixels and boxes, for display         |
| `~/objects`      | vision_msgs/Detection2DArray | boxes of the class `unknown`; `unknown_scene` |
|                  |                              | where it is too large to be one object        |
| `~/label_info`   | vision_msgs/LabelInfo        | names of the classes, latched                 |

Without an operating point, mask and objects are not sent at all, since empty ones would mean that
the road is free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ood_seg import __version__
from ood_seg.labels import unlabelled
from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import SCENE, Instance
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.ros.fields import Header, Message
from ood_seg.ros.images import IMAGE, image_message

DETECTIONS = "vision_msgs/msg/Detection2DArray"
LABEL_INFO = "vision_msgs/msg/LabelInfo"

UNKNOWN, UNKNOWN_SCENE = "unknown", "unknown_scene"
_FULL = np.uint8(255)

# Message type of each output topic.
TOPICS = {
    "labels": IMAGE,
    "anomaly": IMAGE,
    "anomaly_mask": IMAGE,
    "overlay": IMAGE,
    "objects": DETECTIONS,
}


def result_messages(
    result: AnomalyResult, header: Header, topics: Sequence[str] = tuple(TOPICS)
) -> dict[str, Message]:
    """Return the messages of one image by topic name.

    Args:
        result: of the image.
        header: of the message of the image.
        topics: keys of `TOPICS`.

    Returns:
        The messages of these topics, without `anomaly_mask` and `objects` if there is no mask.
    """
    missing = {"anomaly_mask", "objects"} if result.mask is None else set()
    return {topic: _MAKERS[topic](result, header) for topic in topics if topic not in missing}


def _labels(result: AnomalyResult, header: Header) -> Message:
    encoding = "mono8" if result.labels.dtype == np.uint8 else "mono16"
    return image_message(result.labels, encoding, header)


def _anomaly(result: AnomalyResult, header: Header) -> Message:
    values = result.anomaly if result.probability is None else result.probability
    return image_message(values, "32FC1", header)


def _anomaly_mask(result: AnomalyResult, header: Header) -> Message:
    return image_message(np.where(np.asarray(result.mask), _FULL, np.uint8(0)), "mono8", header)


def _overlay(result: AnomalyResult, header: Header) -> Message:
    return image_message(result.plot(), "rgb8", header)


def _objects(result: AnomalyResult, header: Header) -> Message:
    return detections(result.instances, header)


_MAKERS: dict[str, Callable[[AnomalyResult, Header], Message]] = {
    "labels": _labels,
    "anomaly": _anomaly,
    "anomaly_mask": _anomaly_mask,
    "overlay": _overlay,
    "objects": _objects,
}


def detections(instances: Sequence[Instance], header: Header) -> Message:
    """Return unknown objects as `vision_msgs/msg/Detection2DArray`.

    The score is the mean calibrated probability of the pixels of the object. Without a calibration
    it is 1: only that the object was flagged is known, and no threshold on the score should remove
    it. `id` is the number of the track, empty without tracking. As in `vision_msgs`, a box of left
    10 and width 4 has its centre at 12. A scene has the class `unknown_scene`.
    """
    found = [_detection(instance, header) for instance in instances]
    return Message(DETECTIONS, {"header": header.message(), "detections": found})


def _detection(instance: Instance, header: Header) -> Message:
    left, top, width, height = instance.box
    score = 1.0 if instance.probability is None else float(np.clip(instance.probability, 0, 1))
    centre = _vision("Point2D", x=left + width / 2, y=top + height / 2)
    box = _vision(
        "BoundingBox2D",
        center=_vision("Pose2D", position=centre, theta=0.0),
        size_x=float(width),
        size_y=float(height),
    )
    kind = UNKNOWN_SCENE if instance.kind == SCENE else UNKNOWN
    hypothesis = _vision("ObjectHypothesis", class_id=kind, score=score)
    return _vision(
        "Detection2D",
        header=header.message(),
        results=[_vision("ObjectHypothesisWithPose", hypothesis=hypothesis, pose=_no_pose())],
        bbox=box,
        id="" if instance.track is None else str(instance.track),
    )


def _vision(kind: str, **fields: object) -> Message:
    return Message(f"vision_msgs/msg/{kind}", fields)


def _no_pose() -> Message:
    """Return the identity: the pose is unknown."""
    position = Message("geometry_msgs/msg/Point", {"x": 0.0, "y": 0.0, "z": 0.0})
    rotation = Message("geometry_msgs/msg/Quaternion", {"x": 0.0, "y": 0.0, "z": 0.0, "w": 1.0})
    pose = Message("geometry_msgs/msg/Pose", {"position": position, "orientation": rotation})
    return Message(
        "geometry_msgs/msg/PoseWithCovariance", {"pose": pose, "covariance": np.zeros(36)}
    )


def label_info(segmentor: Segmentor, header: Header) -> Message:
    """Return the meaning of the values of `~/labels` as `vision_msgs/msg/LabelInfo`, sent once.

    The highest class is UNLABELED, as the definition of the message demands: 255, or 65535 where
    labels have 16 bits. No pixel has it.
    The threshold, which must lie in 0..1, is the calibrated probability at the operating point, or
    0 if unknown. The threshold on the score is in `describe`.
    """
    known = segmentor.palette.classes
    names = [*enumerate(known), (unlabelled(len(known)), "UNLABELED")]
    classes = [_vision("VisionClass", class_id=number, class_name=name) for number, name in names]
    fields = {"class_map": classes, "threshold": _calibrated_threshold(segmentor)}
    return Message(LABEL_INFO, {"header": header.message(), **fields})


def _calibrated_threshold(segmentor: Segmentor) -> float:
    if segmentor.threshold is None:
        return 0.0
    probability = segmentor.probability(np.array([segmentor.threshold], np.float32))
    return 0.0 if probability is None else float(np.clip(probability[0], 0, 1))


def describe(segmentor: Segmentor) -> dict[str, str]:
    """Return the facts about the model in `/diagnostics`: version, score and operating point."""
    return {
        "version": __version__,
        "score": segmentor.score_name,
        "operating_point": segmentor.operating_point or "",
        "threshold": "none" if segmentor.threshold is None else f"{segmentor.threshold:.9g}",
    }
