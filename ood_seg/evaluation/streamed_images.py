"""Images of one process summed up in constant memory, to be joined with those of the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from mmengine import dist

from ood_seg.metrics.component import ComponentMetrics
from ood_seg.metrics.overlaps import ImageComponents
from ood_seg.metrics.pixel import PixelMetrics, SplitScores


@dataclass(frozen=True)
class ImageScores:
    """Scores of one image, as kept and as sent to the main process where there are several.

    No named tuple, because mmengine turns tuples among the results into plain ones.
    """

    image: str
    scores: SplitScores
    components: ImageComponents | None = None


class StreamedImages:
    """Sums of all images of this process but the last, which may be padding.

    mmengine's samplers repeat images until every process has as many; at most one a process, and
    the last. Which it is shows when the size of the dataset is known.

    Args:
        components: sums up the components; None leaves them out.
    """

    def __init__(self, components: ComponentMetrics | None = None) -> None:
        self.pixels = PixelMetrics("streaming")
        self.components = components
        self.images: list[str] = []
        self._last: ImageScores | None = None

    def add(self, images: Iterable[ImageScores]) -> None:
        """Take in images in the order in which the sampler gave them."""
        for image in images:
            self._count_last()
            self._last = image

    @property
    def num_images(self) -> int:
        """Images taken in so far."""
        return len(self.images) + (self._last is not None)

    def join(self, size: int) -> None:
        """Give every process the sums of all; collective, and the end of `add`.

        Args:
            size: images of the dataset without padding.
        """
        rank, processes = dist.get_dist_info()
        if self._last is not None and len(self.images) * processes + rank >= size:
            self._last = None
        self._count_last()
        if processes == 1:
            return
        self.pixels.all_reduce(device=dist.get_comm_device())
        gathered = dist.all_gather_object((self.images, self.components))
        self.images = [image for images, _ in gathered for image in images]
        if self.components is not None:
            self.components = gathered[0][1]
            for _, components in gathered[1:]:
                self.components.merge(components)

    def _count_last(self) -> None:
        """Count the image that was held back."""
        if self._last is not None:
            self.pixels.add(self._last.scores)
            if self.components is not None and self._last.components is not None:
                self.components.add(self._last.components)
            self.images.append(self._last.image)
            self._last = None


def sum_over_processes(number: int) -> int:
    """The sum of an integer over all processes; collective."""
    total = torch.tensor(number, device=dist.get_comm_device())
    dist.all_reduce(total)
    return int(total)
