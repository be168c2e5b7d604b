"""What the detectors have in common: how they are called, and how they are fitted.

A score says by its class attribute `needs` how it is called:

    logits    score(logits (N,C,*)) -> scores (N,*)                       as in `ood_seg.scores`
    outputs   score(outputs, network) -> scores (N,*)                     after one normal forward
    network   score(network, images) -> Outputs-like pair (logits, scores)  runs the network itself

Scores of `outputs` and `network` come at the network's own resolution (that of its logits or of
a layer); the caller interpolates them to the image. Scores that are fitted read their section of
a `StatisticsFile`, and a `Fitter` made that section.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.statistics import Statistics, StatisticsFile


class Detector(nn.Module):
    """Base of the scores that need more than the logits of one image.

    Attributes:
        needs: `logits`, `outputs` or `network`, see above; may depend on a score's options.
        layers: activations that `outputs` must hold.
        pointwise: of `logits`, whether a pixel's score depends on that pixel's logits alone; where
            not, they must be the whole picture's at full resolution.
    """

    needs: str = "outputs"
    layers: tuple[str, ...] = ()
    pointwise: bool = True


class FittedDetector(Detector):
    """Base of the scores that read statistics of known data.

    Tensors of the statistics become buffers that are in no checkpoint, so that the checkpoints
    of the model load as before.

    Args:
        statistics: a file of `ood-seg fit`, or what it holds.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, or holds nothing of this method.
    """

    method: ClassVar[str]

    def __init__(self, statistics: str | Path | StatisticsFile) -> None:
        super().__init__()
        self.origin = "the statistics"
        if not isinstance(statistics, StatisticsFile):
            self.origin = str(statistics)
            statistics = StatisticsFile.load(statistics)
        self.statistics_file = statistics
        section = statistics.section(self.method, origin=self.origin)
        self.options = section.options
        for name, value in section.tensors.items():
            self.register_buffer(name, value, persistent=False)

    def check_model(self, network: Network) -> None:
        """Raise unless the statistics are those of this model, weights included."""
        self.statistics_file.check_model(network.fingerprint(), origin=self.origin)

    @classmethod
    def fitter(cls, **options: Any) -> Fitter:
        """The object that gathers this method's statistics; options are the method's."""
        raise NotImplementedError(f"{cls.__name__} does not say how it is fitted")


class Fitter(Protocol):
    """Gathers the statistics of one method in one pass, in bounded memory.

    Attributes:
        layers: activations that `update` needs.
    """

    layers: tuple[str, ...]

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch.

        Args:
            outputs: of one forward pass over known data.
            labels: `(N, H, W)` at the images' size (or `(N,)` for image-level networks):
                0..C-1, 254 outlier, 255 ignored.
            network: that gave the outputs.
        """

    def reduce(self) -> None:
        """Sum over the processes of a distributed run; nothing in a single one."""

    def result(self) -> Statistics:
        """The statistics of all batches.

        Raises:
            ValueError: there was too little data, and how much it takes.
        """
