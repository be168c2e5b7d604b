"""Counters of the service for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counters:
    """What the service counts; safe to use from several threads."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "ood_seg_requests_total", "prediction requests by status", ["status"], registry=registry
        )
        self._images = Counter("ood_seg_images_total", "images predicted", registry=registry)
        self._batches = Counter("ood_seg_batches_total", "runs of the model", registry=registry)
        self._waiting = Gauge(
            "ood_seg_queue_images", "images that wait for the model", registry=registry
        )
        self._request_seconds = Histogram(
            "ood_seg_request_seconds",
            "time from request to answer",
            buckets=_SECONDS,
            registry=registry,
        )
        self._model_seconds = Histogram(
            "ood_seg_model_seconds",
            "time of a run of the model",
            buckets=_SECONDS,
            registry=registry,
        )

    def add_request(self, status: int, seconds: float) -> None:
        """Count a finished prediction request; only successful ones have a latency."""
        self._requests.labels(status).inc()
        if status < 400:
            self._request_seconds.observe(seconds)

    def add_batch(self, images: int, seconds: float) -> None:
        """Count a run of the model."""
        self._images.inc(images)
        self._batches.inc()
        self._model_seconds.observe(seconds)

    def text(self, *, waiting: int) -> str:
        """Return all counters in the text format of Prometheus."""
        self._waiting.set(waiting)
        return generate_latest(self._registry).decode()
