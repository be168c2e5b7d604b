"""Limits of the service."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ServiceLimits:
    """Limits of the service.

    Attributes:
        max_bytes: of the body of a request.
        max_pixels: of an image, and of all images that are decoded at a time; further ones wait.
        max_batch: images of one run of the model.
        batch_pixels: pixels of one run of the model; a larger image is reduced to as many, and its
            labels and scores are enlarged to its own size.
        max_wait: seconds that an image may wait for others of its batch.
        max_queue: requests in progress beyond those of a batch; more are answered with 429.
        max_uploads: bodies that may arrive at a time; more are answered with 429. They take no
            place of `max_queue`.
        min_rate: bytes per second at which a client must send its body and read its answer.
        patience: seconds that a client may pause, and that it has for its header.
        timeout: seconds until a request is abandoned: 408 while its body is read, 504 while it
            waits for the model.
    """

    max_bytes: int = 32 * 2**20
    max_pixels: int = 12_500_000
    max_batch: int = 4
    batch_pixels: int = 2_100_000
    max_wait: float = 0.005
    max_queue: int = 32
    max_uploads: int = 256
    min_rate: float = 64 * 2**10
    patience: float = 5.0
    timeout: float = 60.0

    @property
    def upload_bytes(self) -> int:
        """Bytes of all bodies that are held at a time; more are answered with 429."""
        return 4 * self.max_bytes
