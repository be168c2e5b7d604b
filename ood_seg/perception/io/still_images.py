"""Still images as a source of frames, read one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ood_seg.io.images import checked_image, decode_image, read_image
from ood_seg.perception.core.types import Failure, Frame, FrameSource
from ood_seg.perception.io.captures import shown_address
from ood_seg.perception.io.fetching import fetch
from ood_seg.perception.io.listings import Entry

Wanted = Callable[[str], bool]


@dataclass(frozen=True)
class SourceOptions:
    """What nested sources share; see `frames.open_frames`."""

    wanted: Wanted
    skip: Path | None
    max_pixels: int

    def read(self, image: str | np.ndarray | OSError) -> np.ndarray:
        """Read an image: a path, a URL or an array; an error of its folder is raised."""
        if isinstance(image, np.ndarray):
            return checked_image(image)
        if isinstance(image, OSError):
            raise image
        if "://" in image:
            content = fetch(image, self.max_pixels)
            return decode_image(content, shown_address(image), max_pixels=self.max_pixels)
        return read_image(image, max_pixels=self.max_pixels)


class ImageSource(FrameSource):
    """Still images, read one by one.

    Args:
        entries: returns them from the first on, each time it is called.
        options: see `frames.open_frames`.
        single: whether it is one image.
    """

    def __init__(
        self,
        entries: Callable[[], Iterable[Entry]],
        options: SourceOptions,
        *,
        single: bool = False,
    ) -> None:
        self._entries, self._options, self.single = entries, options, single
        self._count: int | None = None

    @property
    def count(self) -> int:
        """Number of wanted images; the first access searches the whole source."""
        if self._count is None:
            self._count = sum(self._options.wanted(entry.name) for entry in self._entries())
        return self._count

    def __iter__(self) -> Iterator[Frame | Failure]:
        # Whether a single image is wanted is known once it has been counted.
        known = self._count if self.single else None
        for index, (name, image) in enumerate(self._entries()):
            self.passed = index + 1
            if not (self._options.wanted(name) if known is None else known):
                continue
            try:
                outcome: Frame | Failure = Frame(self._options.read(image), name, index)
            except Exception as error:  # such as a MemoryError, or a disk that cannot be read
                outcome = Failure.of(error, name, index)
            yield outcome
