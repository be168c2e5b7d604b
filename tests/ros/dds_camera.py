"""A camera and a listener in a process of their own; prints what they heard as JSON."""

from __future__ import annotations

import json
import sys
import time

from cyclonedds.pub import DataWriter
from cyclonedds.sub import DataReader
from dds_types import (
    LATCHED,
    SENSOR_DATA,
    USUAL,
    Detection2DArray,
    DiagnosticArray,
    Header,
    Image,
    LabelInfo,
    Time,
    open_participant,
    topic,
)
from ros_doubles import street

NODE = "/ood_seg/"


def main(domain: int, seconds: float) -> None:
    participant = open_participant(domain)
    camera = DataWriter(participant, topic(participant, "/camera/image_raw", Image), SENSOR_DATA)
    kinds = {NODE + name: Image for name in ("labels", "anomaly", "anomaly_mask", "overlay")}
    kinds[NODE + "objects"] = Detection2DArray
    kinds[NODE + "label_info"] = LabelInfo
    kinds["/diagnostics"] = DiagnosticArray
    readers = {
        name: DataReader(
            participant,
            topic(participant, name, kind),
            LATCHED if name.endswith("label_info") else USUAL,
        )
        for name, kind in kinds.items()
    }
    heard: dict[str, list] = {name: [] for name in readers}
    pixels = street()
    end = time.monotonic() + seconds
    number = 0
    while not all(heard.values()) and time.monotonic() < end:
        number += 1
        header = Header(Time(1_700_000_000 + number, 77), "front")
        data = pixels.tobytes()
        camera.write(Image(header, *pixels.shape[:2], "bgr8", 0, pixels.shape[1] * 3, data))
        time.sleep(0.1)
        for name, reader in readers.items():
            heard[name] += reader.take(10)
    print(json.dumps({name: _values(messages[:1]) for name, messages in heard.items()}))


def _values(value):
    if isinstance(value, list | tuple):
        return [_values(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: _values(getattr(value, name)) for name in value.__dataclass_fields__}
    return bytes(value).hex() if isinstance(value, bytes | bytearray) else value


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
