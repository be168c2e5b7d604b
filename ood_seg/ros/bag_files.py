"""Reading and writing of rosbag2 recordings with `rosbags`, which only this module imports."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from ood_seg.io.files import claimed, unfinished_path
from ood_seg.ros.definitions import VISION_MSGS
from ood_seg.ros.fields import Message, build, rosbags_runtime
from ood_seg.ros.messages import LABEL_INFO

STORAGES = ("sqlite3", "mcap")
# Version of the format: that of ROS 2 Jazzy.
_VERSION: Literal[8] = 8
_EMPTY_DEFINITION = "\n"


@contextlib.contextmanager
def reading(source: Path) -> Iterator[Any]:
    """Open a bag for reading, as a `rosbags.rosbag2.Reader`.

    Raises:
        FileNotFoundError: no such path.
        ValueError: it cannot be read, or is of ROS 1.
    """
    from rosbags.rosbag2 import Reader, ReaderError

    if source.suffix == ".bag":
        raise ValueError(
            f"{source} is a ROS 1 bag; convert it first: rosbags-convert --src {source} --dst "
            f"{source.with_suffix('')}"
        )
    try:
        with Reader(source) as reader:
            yield reader
    except (ReaderError, sqlite3.Error) as error:
        raise ValueError(
            f"bag {source} cannot be read: {error} If the recording was interrupted, `ros2 bag "
            "reindex` or `mcap recover` may repair it"
        ) from error


@contextlib.contextmanager
def writing(target: Path, plugin: str) -> Iterator[Bag]:
    """Write a new bag, which appears when it is complete.

    After an error or Ctrl-C, what was written is left in `TARGET.part`, unless it cannot be read
    again, as on a full disk. Before a bag gets its name, the messages in it are counted. No other
    process can write the same bag meanwhile.

    Raises:
        ValueError: the target or `TARGET.part` exists, another process writes it, or it cannot be
            written, such as on a full disk.
    """
    part = target.with_name(f"{target.name}.part")
    folder = unfinished_path(target)
    with contextlib.ExitStack() as stack:
        with _writing_errors(target):
            stack.enter_context(claimed(target))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if target.exists():
            raise ValueError(f"{target} exists; give another target")
        if part.exists():
            raise ValueError(f"{part} exists: a run was interrupted; remove it to start again")
        bag = None
        try:
            with _open_bag(folder / target.name, target, plugin) as bag:
                yield bag
        except BaseException:
            if bag is not None and bag.count == _message_count(folder / target.name) > 0:
                folder.rename(part)
            raise
        found = _message_count(folder / target.name)
        if found != bag.count:
            raise ValueError(
                f"bag {target}: {bag.count} messages were written, but the bag contains {found}; "
                "is the disk full?"
            )
        with _writing_errors(target):
            (folder / target.name).rename(target)


@contextlib.contextmanager
def _open_bag(path: Path, target: Path, plugin: str) -> Iterator[Bag]:
    """Open a bag, and close it even after an error, so that it can be read."""
    from rosbags.rosbag2 import StoragePlugin, Writer

    writer = Writer(path, version=_VERSION, storage_plugin=StoragePlugin[plugin.upper()])
    with _writing_errors(target):
        writer.open()
    try:
        yield Bag(writer, target)
    finally:
        with _writing_errors(target):
            try:
                writer.close()
            except BaseException:
                with contextlib.suppress(Exception):
                    writer.abort()
                raise


@contextlib.contextmanager
def _writing_errors(target: Path) -> Iterator[None]:
    """Errors of the operating system and the storage become a ValueError."""
    from rosbags.rosbag2 import WriterError

    try:
        yield
    except (OSError, sqlite3.Error, WriterError) as error:
        raise ValueError(f"bag {target} cannot be written: {error}") from error


def _message_count(path: Path) -> int:
    """Number of messages that can be read from a bag."""
    count = 0
    with contextlib.suppress(ValueError, OSError), reading(path) as reader:
        for _ in reader.messages():
            count += 1
    return count


def choose_storage(source: Path, storage: str | None) -> str:
    """Return the storage of a new bag; None: as in the source.

    Raises:
        ValueError: an unknown storage.
    """
    if storage is None:
        files = [source] if source.is_file() else list(source.glob("*"))
        return "mcap" if any(".mcap" in path.suffixes for path in files) else "sqlite3"
    if storage not in STORAGES:
        raise ValueError(f"storage: expected one of {', '.join(STORAGES)}, got {storage!r}")
    return storage


class Bag:
    """A new bag, with copied and own messages.

    Attributes:
        store: types of the own messages.
        written: number of own messages by topic.
        count: number of all messages.
    """

    def __init__(self, writer: Any, target: Path) -> None:
        self.store = type_store()
        self.written: dict[str, int] = {}
        self.count = 0
        self._writer, self._target = writer, target
        self._runtime = rosbags_runtime(self.store)
        self._connections: dict[tuple[str, str], Any] = {}
        self._digests: dict[str, str] = {}

    def copy_connection(self, connection: Any) -> None:
        """Add a connection of the source, for its messages."""
        key = (connection.topic, connection.msgtype)
        if key in self._connections:
            return  # two publishers of one topic
        definition, digest = _definition(connection, self.store)
        self._digests[connection.msgtype] = digest
        with _writing_errors(self._target):
            self._connections[key] = self._writer.add_connection(
                *key,
                msgdef=definition,
                rihs01=digest,
                offered_qos_profiles=connection.ext.offered_qos_profiles,
            )

    def write(self, connection: Any, time: int, data: bytes) -> None:
        """Copy a message."""
        key = (connection.topic, connection.msgtype)
        self._write(self._connections[key], time, data)

    def send(self, topic: str, message: Message, time: int) -> None:
        """Write an own message."""
        connection = self._connections.get((topic, message.type))
        if connection is None:
            connection = self._add(topic, message.type)
        data = self.store.serialize_cdr(build(self._runtime, message), message.type)
        self._write(connection, time, data)
        self.written[topic] = self.written.get(topic, 0) + 1

    def _write(self, connection: Any, time: int, data: bytes | memoryview) -> None:
        with _writing_errors(self._target):
            self._writer.write(connection, time, data)
        self.count += 1

    def _add(self, topic: str, kind: str) -> Any:
        digest = self.store.hash_rihs01(kind)
        if self._digests.get(kind, digest) != digest:
            raise ValueError(
                f"the bag contains {kind} in another version than that of {topic}; write only the "
                "results (--no-copy)"
            )
        qos = _qos(latched=kind == LABEL_INFO)
        with _writing_errors(self._target):
            connection = self._writer.add_connection(
                topic, kind, typestore=self.store, offered_qos_profiles=[qos]
            )
        self._connections[topic, kind] = connection
        return connection


def type_store() -> Any:
    """Return the type store of the own messages and of the images."""
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    types: dict[str, Any] = {}
    for name, definition in VISION_MSGS.items():
        types.update(get_types_from_msg(definition, name))
    store.register(types)
    return store


def _definition(connection: Any, store: Any) -> tuple[str, str]:
    """Return definition and hash of a type in the source.

    Recordings of Humble and earlier lack them: types of ROS 2 are then taken from `store`, others
    get an empty definition, which players do not need.
    """
    from rosbags.typesys import Stores, get_types_from_idl, get_types_from_msg, get_typestore

    name, text = connection.msgtype, connection.msgdef.data
    form = connection.msgdef.format.name
    if form == "NONE" and name in store.fielddefs:
        return store.generate_msgdef(name, ros_version=2)[0], store.hash_rihs01(name)
    if form != "NONE" and connection.digest:
        return text, connection.digest
    own = get_typestore(Stores.EMPTY)
    read = get_types_from_idl(text) if form == "IDL" else get_types_from_msg(text, name)
    own.register(read)
    return text or _EMPTY_DEFINITION, own.hash_rihs01(name)


def read_message(store: Any, connection: Any, data: bytes) -> Any:
    """Return a message of a connection; its type must be in `store`.

    Raises:
        ValueError: the data are truncated or damaged.
    """
    from rosbags.serde import SerdeError

    try:
        return store.deserialize_cdr(data, connection.msgtype)
    except SerdeError as error:
        raise ValueError(f"the message is damaged: {error}") from error


def _qos(*, latched: bool) -> Any:
    from rosbags.interfaces import (
        Qos,
        QosDurability,
        QosHistory,
        QosLiveliness,
        QosReliability,
        QosTime,
    )

    never = QosTime(2147483647, 4294967295)
    return Qos(
        QosHistory.KEEP_LAST,
        1 if latched else 5,
        QosReliability.RELIABLE,
        QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        never,
        never,
        QosLiveliness.AUTOMATIC,
        never,
        False,
    )
