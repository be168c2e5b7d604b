"""What every source of frames has in common."""

from __future__ import annotations

from collections.abc import Iterator

from ood_seg.perception.core.types import Failure, Frame


class FrameSource:
    """Frames in order, read as they are asked for; a picture that cannot be used is a `Failure`.

    Attributes:
        rate: frames per second; None for pictures, or where it is not known.
        size: height and width where all frames share them and it is known; else None.
        live: whether frames come in real time, so that late ones are better dropped.
        passed: positions gone through so far, those that were not wanted included.
    """

    rate: float | None = None
    size: tuple[int, int] | None = None
    live: bool = False
    passed: int = 0

    @property
    def count(self) -> int | None:
        """How many frames and failures there will be; None: endless or not known."""
        return None

    def __iter__(self) -> Iterator[Frame | Failure]:
        raise NotImplementedError

    def close(self) -> None:
        """Let go of cameras and connections."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
