"""Interface of the detectors: how a score is called, and how it is fitted.

The class attribute `needs` of a score states how it is called:

    logits    score(logits (N,C,*)) -> scores (N,*)                   as in `ood_seg.scores`
    outputs   score(outputs, network) -> scores (N,*)                 after one forward pass
    network   score(network, images) -> (logits (N,C,*), scores)      runs the network itself

Scores of `outputs` and `network` have the network's own resolution (that of its logits or of a
layer); the caller interpolates them to the image. A fitted score reads its section of a
`StatisticsFile`, which a `Fitter` computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Protocol

from torch import Tensor, nn

from ood_seg.detectors.network import Network, Outputs
from ood_seg.detectors.sections import Entry, OptionKind, check_section
from ood_seg.detectors.statistics import Statistics, StatisticsFile


class Detector(nn.Module):
    """Base of the scores that need more than the logits of one image.

    Attributes:
        needs: `logits`, `outputs` or `network`, see the module; may depend on the options.
        layers: activations that `outputs` must hold.
        pointwise: for `needs = "logits"`: whether the score of a pixel depends on that pixel's
            logits alone. If not, the logits must be complete maps at full resolution.
        jumps: whether the score is discontinuous where two logits are equal, so that rounding can
            change it by more than a rounding error there.
    """

    needs: str = "outputs"
    layers: tuple[str, ...] = ()
    pointwise: bool = True
    jumps: bool = False


class FittedDetector(Detector):
    """Base of the scores that read statistics of in-distribution data.

    The tensors of the statistics become non-persistent buffers, so that checkpoints of the model
    keep their keys.

    Attributes:
        method: name of the section in the statistics file.
        fitter: class (or factory) of the `Fitter`; its arguments are the options of the fit.
        entries: tensors of the section, see `ood_seg.detectors.sections`; None: any finite ones.
        read_options: options of the section that the score reads, with their kinds.

    Args:
        statistics: file of `ood-seg fit`, or its content.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, has no section of this method, or one whose tensors or
            options are not those declared; names the entry.
    """

    method: ClassVar[str]
    fitter: ClassVar[Callable[..., Fitter]]
    entries: ClassVar[Mapping[str, Entry] | None] = None
    read_options: ClassVar[Mapping[str, OptionKind]] = {}

    def __init__(self, statistics: str | Path | StatisticsFile) -> None:
        super().__init__()
        self.origin = "the statistics"
        if not isinstance(statistics, StatisticsFile):
            self.origin = str(statistics)
            statistics = StatisticsFile.load(statistics)
        self.statistics_file = statistics
        section = statistics.section(self.method, origin=self.origin)
        check_section(
            section,
            self.entries,
            self.read_options,
            origin=self.origin,
            num_classes=len(statistics.classes) or None,
        )
        self.options = section.options
        for name, value in section.tensors.items():
            self.register_buffer(name, value, persistent=False)

    def check_model(self, network: Network) -> None:
        """Raise `ValueError` unless the statistics were fitted with the weights of this model."""
        self.statistics_file.check_model(network.fingerprint(), origin=self.origin)


class Fitter(Protocol):
    """Computes the statistics of one method in one pass over the data, in bounded memory."""

    @property
    def layers(self) -> tuple[str, ...]:
        """Activations that `update` needs."""

    def update(self, outputs: Outputs, labels: Tensor, network: Network) -> None:
        """Add a batch.

        Args:
            outputs: of one forward pass over in-distribution data.
            labels: `(N, H, W)` at the images' size (`(N,)` for image-level networks): 0..C-1,
                254 outlier, 255 ignored.
            network: the network that computed the outputs.
        """

    def reduce(self) -> None:
        """Combine the processes of a distributed run; does nothing in a single process."""

    def result(self) -> Statistics:
        """The statistics of all batches.

        Raises:
            ValueError: there was too little data; the message states how much is required.
        """
