"""Bag in, bag out: the camera images of a ROS 2 recording, analysed without ROS.

```
source bag --all messages---------------------------------> copied unchanged ----> target bag
           \\-camera topic -> Frame -> Segmentor -> result -> messages of the node --/
```

Reads and writes rosbag2 folders with sqlite3 or MCAP storage. The target appears when it is
complete; an interrupted run leaves a readable bag in `TARGET.part`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_seg.perception.core.result import AnomalyResult
from ood_seg.perception.core.types import Failure, Frame
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.perception.run.stream import analyse
from ood_seg.ros.bag_files import Bag, choose_storage, read_message, reading, type_store, writing
from ood_seg.ros.fields import Header
from ood_seg.ros.health import Health, diagnostics
from ood_seg.ros.images import COMPRESSED_IMAGE, IMAGE, image_of
from ood_seg.ros.messages import TOPICS, describe, label_info, result_messages

_CAMERA_TYPES = (IMAGE, COMPRESSED_IMAGE)
_DIAGNOSTICS_TOPIC = "/diagnostics"
NAMESPACE = "/ood_seg"
_ROS_NAME = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")


@dataclass(frozen=True)
class Summary:
    """Counts of a run of `annotate`.

    Attributes:
        topic: of the images.
        frames: number of images.
        failures: images that could not be analysed, with the reason.
        written: number of added messages by topic.
    """

    topic: str
    frames: int
    failures: tuple[Failure, ...]
    written: dict[str, int]


def annotate(
    source: str | Path,
    target: str | Path,
    segmentor: Segmentor,
    *,
    topic: str | None = None,
    outputs: Sequence[str] = tuple(TOPICS),
    namespace: str = NAMESPACE,
    model: str = "",
    storage: str | None = None,
    copy: bool = True,
    progress: Callable[[int, int], object] | None = None,
    **options: Any,
) -> Summary:
    """Analyse the images of a bag and write a bag with the results.

    Results have the log time and the header of their image. The names of the classes are written
    once, latched, at the time of the first image; the state of the analysis is written to
    `/diagnostics` at the time of every image. An image that cannot be used is an error there and
    has no results.

    Args:
        source: rosbag2 folder, or one of its .mcap or .db3 files.
        target: folder of the new bag.
        segmentor: the model.
        topic: of the images, raw or compressed; None if the bag has only one.
        outputs: topics to write, see `ood_seg.ros.messages`.
        namespace: prefix of the result topics, and name of the status in `/diagnostics`; one per
            camera.
        model: its name in the diagnostics.
        storage: `sqlite3` or `mcap`; None: as in the source.
        copy: whether all messages of the source are copied, without decoding.
        progress: called with the number of images done and their total.
        **options: of `ood_seg.perception.run.stream.analyse`, such as `batch_size` or `tracker`.

    Raises:
        FileNotFoundError: no such source.
        ValueError: the source is not a readable ROS 2 bag; the topic is missing, not an image
            topic, or must be chosen; the target or `TARGET.part` exists, is being written by
            another process, or cannot be written; an unknown output or storage; a namespace that is
            not a ROS name; an output topic that the source already has.
    """
    source, target = Path(source), Path(target)
    plugin = choose_storage(source, storage)
    _check_outputs(outputs)
    namespace = _checked_namespace(namespace)
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(reading(source))
        camera = _camera(reader.connections, topic)
        topic = camera[0].topic
        copied = reader.connections if copy else []
        _check_names(copied, [f"{namespace}/{name}" for name in (*outputs, "label_info")])
        bag = stack.enter_context(writing(target, plugin))
        results = stack.enter_context(analyse(segmentor, _frames(source, topic), **options))
        for connection in copied:
            bag.copy_connection(connection)
        annotator = _Annotator(bag, segmentor, outputs, namespace, model)
        total = sum(connection.msgcount for connection in camera)
        for connection, time, data in reader.messages([] if copy else camera):
            if copy:
                bag.write(connection, time, data)
            if connection.topic == topic and connection.msgtype in _CAMERA_TYPES:
                annotator.add(next(results), _header(bag, connection, time, data), time)
                if progress is not None:
                    progress(annotator.done, total)
    return Summary(topic, annotator.done, tuple(annotator.failures), bag.written)


class _Annotator:
    """Writes the messages of the outcomes."""

    def __init__(
        self, bag: Bag, segmentor: Segmentor, outputs: Sequence[str], namespace: str, model: str
    ) -> None:
        self.health = Health()
        self.failures: list[Failure] = []
        self._bag = bag
        self._segmentor = segmentor
        self._outputs = outputs
        self._namespace = namespace
        self._model = model

    @property
    def done(self) -> int:
        """Number of images so far."""
        return self.health.frames + self.health.failures

    def add(self, outcome: AnomalyResult | Failure, header: Header, time: int) -> None:
        """Write the outcome of the image with this header and log time in nanoseconds."""
        if not self.done:
            info = label_info(self._segmentor, header)
            self._bag.send(f"{self._namespace}/label_info", info, time)
        self.health.arrived(time * 1e-9)
        if isinstance(outcome, Failure):
            self.failures.append(outcome)
            self.health.failed(outcome.message)
        else:
            for name, message in result_messages(outcome, header, self._outputs).items():
                self._bag.send(f"{self._namespace}/{name}", message, time)
            # `total` includes the time for which an image that was read ahead has waited.
            stages = {**outcome.latency, "total": 0.0}
            self.health.handled(sum(stages.values()))
        level, summary, values = self.health.report(time * 1e-9)
        values = {"model": self._model, **describe(self._segmentor), **values}
        name = f"{self._namespace.strip('/')}: anomaly segmentation"
        report = diagnostics(level, summary, values, header, name=name, hardware_id=self._model)
        self._bag.send(_DIAGNOSTICS_TOPIC, report, time)


def _frames(source: Path, topic: str) -> Iterator[Frame | Failure]:
    """Yield the images of a topic, from a second reader beside that of the copying."""
    store, stem = type_store(), topic.strip("/").replace("/", "_")
    with reading(source) as reader:
        camera = _camera(reader.connections, topic)
        for index, (connection, _, data) in enumerate(reader.messages(camera)):
            name = f"{stem}_{index:06d}"
            try:
                message = read_message(store, connection, data)
                yield Frame(image_of(message), name, index, Header.of(message).stamp)
            except ValueError as error:
                yield Failure(name, str(error), index)


def _header(bag: Bag, connection: Any, time: int, data: bytes) -> Header:
    """Return the header of a message; its log time if the message is damaged."""
    try:
        return Header.of(read_message(bag.store, connection, data))
    except ValueError:
        return Header.at(time)


def _check_outputs(outputs: Sequence[str]) -> None:
    unknown = [name for name in outputs if name not in TOPICS]
    if unknown:
        raise ValueError(f"outputs: expected some of {', '.join(TOPICS)}, got {unknown[0]!r}")


def _checked_namespace(namespace: str) -> str:
    name = f"/{namespace.strip('/')}"
    if not _ROS_NAME.fullmatch(name):
        raise ValueError(f"namespace: expected a ROS name such as /front_camera, got {namespace!r}")
    return name


def _check_names(connections: Sequence[Any], names: Sequence[str]) -> None:
    taken = sorted({connection.topic for connection in connections} & set(names))
    if taken:
        raise ValueError(
            f"the bag already has a topic {taken[0]}; choose another namespace (--namespace), or "
            "write only the results (--no-copy)"
        )


def _camera(connections: Sequence[Any], topic: str | None) -> list[Any]:
    """Return the connections of the image topic."""
    cameras = [one for one in connections if one.msgtype in _CAMERA_TYPES]
    listed = ", ".join(sorted({one.topic for one in cameras})) or "none"
    topics = {one.topic for one in cameras}
    if topic is None:
        if len(topics) != 1:
            raise ValueError(f"topic: expected one of the bag's image topics: {listed}")
        (topic,) = topics
    wanted = [one for one in cameras if one.topic.strip("/") == topic.strip("/")]
    if not wanted:
        raise ValueError(f"topic: expected one of the bag's image topics: {listed}; got {topic}")
    if not sum(one.msgcount for one in wanted):
        raise ValueError(f"topic {topic} has no messages in the bag")
    return wanted
