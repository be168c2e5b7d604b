"""State of a stream, as `diagnostic_msgs`."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from ood_seg.ros.fields import Byte, Header, Message

DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"


class Level(IntEnum):
    """Levels of `diagnostic_msgs/msg/DiagnosticStatus`."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass
class Health:
    """Counts of a stream; safe to use from several threads.

    Attributes:
        max_age: seconds without an image after which the camera counts as stopped.
        frames: images analysed.
        dropped: images that were replaced by a newer one before their turn.
        failures: images that could not be analysed.
        last_error: message of the last failure; empty without one.
    """

    max_age: float = 1.0
    frames: int = 0
    dropped: int = 0
    failures: int = 0
    last_error: str = ""
    _failing: bool = False
    _arrival: float | None = None
    _latencies: list[float] = field(default_factory=list)
    _reported: tuple[int, int] = (0, 0)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def arrived(self, now: float, *, dropped: bool = False) -> None:
        """Count an image, and whether it replaced a waiting one."""
        with self._lock:
            self._arrival = now
            self.dropped += dropped

    def handled(self, latency: float) -> None:
        """Count an analysed image, with the seconds from its arrival to its result."""
        with self._lock:
            self.frames += 1
            self._failing = False
            self._latencies.append(latency)

    def failed(self, message: str) -> None:
        """Count an image that could not be analysed."""
        with self._lock:
            self.failures += 1
            self._failing = True
            self.last_error = message

    def report(self, now: float) -> tuple[Level, str, dict[str, str]]:
        """Return level, summary and values since the last report, and start the next period.

        The first level that applies:

        - STALE: no image yet, or none for longer than `max_age`;
        - ERROR: the newest image failed;
        - WARN: an image failed or was dropped since the last report;
        - OK.

        Args:
            now: seconds on the clock of `arrived`.
        """
        with self._lock:
            dropped, failures = self.dropped - self._reported[0], self.failures - self._reported[1]
            level, summary = self._level(now, dropped, failures)
            values = {
                "frames": str(self.frames),
                "dropped": str(self.dropped),
                "failures": str(self.failures),
                "last_error": self.last_error,
                **self._latency_values(),
            }
            self._reported = (self.dropped, self.failures)
            self._latencies.clear()
        return level, summary, values

    def _level(self, now: float, dropped: int, failures: int) -> tuple[Level, str]:
        if self._arrival is None:
            return Level.STALE, "no image has arrived yet"
        age = now - self._arrival
        if age > self.max_age:
            return Level.STALE, f"no image for {age:.1f} s; has the camera stopped?"
        if self._failing:
            return Level.ERROR, self.last_error
        if failures:
            return Level.WARN, f"{failures} image(s) failed: {self.last_error}"
        if dropped:
            return Level.WARN, f"slower than the camera: {dropped} image(s) dropped"
        return Level.OK, "images are analysed"

    def _latency_values(self) -> dict[str, str]:
        if not self._latencies:
            return {}
        mean = sum(self._latencies) / len(self._latencies)
        return {
            "latency_mean_ms": f"{1000 * mean:.1f}",
            "latency_max_ms": f"{1000 * max(self._latencies):.1f}",
        }


def diagnostics(
    level: Level,
    summary: str,
    values: Mapping[str, str],
    header: Header,
    *,
    name: str = "ood_seg: anomaly segmentation",
    hardware_id: str = "",
) -> Message:
    """Return a report as `diagnostic_msgs/msg/DiagnosticArray` with one status.

    Args:
        level: of the status.
        summary: the level in words.
        values: details, key and value.
        header: time of the report.
        name: of the status.
        hardware_id: of the status; here the model.
    """
    pairs = [
        Message("diagnostic_msgs/msg/KeyValue", {"key": key, "value": value})
        for key, value in values.items()
    ]
    status = Message(
        "diagnostic_msgs/msg/DiagnosticStatus",
        {
            "level": Byte(level),
            "name": name,
            "message": summary,
            "hardware_id": hardware_id,
            "values": pairs,
        },
    )
    return Message(DIAGNOSTICS, {"header": header.message(), "status": [status]})
