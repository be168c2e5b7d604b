"""Counters of the service in the text format that Prometheus reads."""

from __future__ import annotations

import threading
from collections import Counter

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Histogram:
    """Counts of seconds up to each of a few bounds, as Prometheus wants them."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        self.counts[sum(seconds > bound for bound in _SECONDS)] += 1
        self.total += seconds

    def lines(self, name: str) -> list[str]:
        """The cumulative buckets, the sum and the count."""
        lines, seen = [], 0
        for bound, count in zip((*map(str, _SECONDS), "+Inf"), self.counts, strict=True):
            seen += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {seen}')
        return [*lines, f"{name}_sum {self.total:.6f}", f"{name}_count {seen}"]


class Counters:
    """What the service counts; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: Counter[int] = Counter()
        self._latency, self._model = Histogram(), Histogram()
        self._images = self._batches = 0

    def add_request(self, status: int, seconds: float) -> None:
        """Count a finished request for a prediction."""
        with self._lock:
            self._requests[status] += 1
            if status < 400:
                self._latency.add(seconds)

    def add_batch(self, images: int, seconds: float) -> None:
        """Count a run of the model."""
        with self._lock:
            self._images += images
            self._batches += 1
            self._model.add(seconds)

    def text(self, *, waiting: int) -> str:
        """Everything, in Prometheus' text format 0.0.4."""
        with self._lock:
            lines = _head("requests_total", "counter", "requests for a prediction, by status")
            lines += [
                f'ood_seg_requests_total{{status="{status}"}} {count}'
                for status, count in sorted(self._requests.items())
            ]
            for name, kind, text, value in (
                ("images_total", "counter", "images that the model has seen", self._images),
                ("batches_total", "counter", "runs of the model", self._batches),
                ("queue_images", "gauge", "images that wait for the model", waiting),
            ):
                lines += [*_head(name, kind, text), f"ood_seg_{name} {value}"]
            for name, text, histogram in (
                ("request_seconds", "time from request to answer", self._latency),
                ("model_seconds", "time of a run of the model", self._model),
            ):
                lines += [*_head(name, "histogram", text), *histogram.lines(f"ood_seg_{name}")]
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP ood_seg_{name} {text}", f"# TYPE ood_seg_{name} {kind}"]
