"""Parameter-free head that turns class logits into anomaly scores and outlier losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from ood_seg.labels import IGNORE, OUTLIER, split_labels
from ood_seg.losses._common import means
from ood_seg.losses._energy_terms import EnergyTerms
from ood_seg.losses._logsumexp import pixel_sums
from ood_seg.losses.outlier_exposure import ExposureTerms
from ood_seg.models.detector_scores import needs_of
from ood_seg.models.joint_closed_set import sharing_loss
from ood_seg.smoothing import GaussianSmoothing


@MODELS.register_module()
class EnergyHead(BaseModule):
    """Anomaly scores at inference, outlier losses in training, no parameters.

    ```
    logits (N,C',H,W) -> class channels (N,C,H,W) -> score -> smoothing -> anomaly map (N,H,W)
                                                 `-> losses(logits, labels)
    ```

    A score or loss module with the attribute `channels = "all"` is given all C' channels instead
    (an abstention class, a second set of logits); one without it is given the classes only.

    Args:
        score: config of a score: of logits (`Energy`, `MaxLogit`, ...), of activations or of the
            network itself (`Mahalanobis`, `ODIN`, ...); docs/scores.md lists them.
        smoothing: keyword arguments of `GaussianSmoothing`, or None for the raw score.
        losses: configs of outlier losses, called with logits and training labels.
        num_classes: number of class channels C, the first of the decode head's. None: all
            channels are classes.

    Raises:
        ValueError: a loss without a name of its own, or with labels of its own.

    Attributes:
        has_branch: whether the model has an anomaly branch: after the C class channels of the
            frozen segmentor come all channels of the branch, which the score reads.
    """

    def __init__(
        self,
        score: dict | None = None,
        smoothing: dict | None = None,
        losses: Sequence[dict] = (),
        num_classes: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.has_branch = False
        self.score = MODELS.build(score or {"type": "Energy"})
        self.smoothing = None if smoothing is None else GaussianSmoothing(**smoothing)
        self.losses = nn.ModuleList(MODELS.build(loss) for loss in losses)
        for loss in self.losses:
            check_label_options(loss)
        names = [getattr(loss, "loss_name", None) for loss in self.losses]
        wrong = [name for name in names if not str(name).startswith("loss")]
        if wrong or len(set(names)) < len(names):
            kinds = (type(loss).__name__ for loss in self.losses)
            given = ", ".join(f"{kind} {name!r}" for kind, name in zip(kinds, names, strict=True))
            raise ValueError(
                "each outlier loss needs an attribute loss_name of its own that starts with 'loss' "
                f"(mmengine sums those), got {given}"
            )

    def class_logits(self, logits: Tensor) -> Tensor:
        """Channels of the known classes, `(N, C, *)`.

        Raises:
            ValueError: if there are fewer channels than classes.
        """
        if self.num_classes is None:
            return logits
        if logits.shape[1] < self.num_classes:
            raise ValueError(
                f"energy_head.num_classes is {self.num_classes}, but the model gives "
                f"{logits.shape[1]} channels"
            )
        return logits[:, : self.num_classes]

    @property
    def needs(self) -> str:
        """What the score is computed from: `logits`, `outputs` or `network`."""
        return needs_of(self.score)

    @property
    def scores_all_channels(self) -> bool:
        """Whether the score needs the channels beyond the classes."""
        return self.has_branch or wants_all_channels(self.score)

    @property
    def score_channels(self) -> slice:
        """The channels that the score reads."""
        start = self.num_classes or 0 if self.has_branch else 0
        if self.num_classes is None or wants_all_channels(self.score):
            return slice(start, None)
        return slice(start, start + self.num_classes)

    def predict(self, logits: Tensor) -> Tensor:
        """Anomaly score maps, `(N, C', H, W) -> (N, H, W)`, higher = more anomalous.

        Raises:
            ValueError: the score reads more than logits; `OODEncoderDecoder.predict` computes it.
        """
        if self.needs != "logits":
            raise ValueError(
                f"{type(self.score).__name__} cannot be computed from logits alone; it needs "
                "`OODEncoderDecoder.predict`, without test-time augmentation"
            )
        self.class_logits(logits)  # raises if there are too few
        return self.smooth(self.score(logits[:, self.score_channels]))

    def smooth(self, scores: Tensor) -> Tensor:
        """Smoothed score maps `(N, H, W)`, or the same where no smoothing is set."""
        return scores if self.smoothing is None else self.smoothing(scores)

    def loss(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Outlier losses by name, and the mean energies of both kinds of pixels for the log.

        Under torch.distributed all are those of the global batch.

        Args:
            logits: `(N, C', H, W)`.
            labels: `(N, H, W)`: known classes, `OUTLIER` or `IGNORE`.
        """
        return self.loss_and_terms(logits, labels)[0]

    def loss_and_terms(
        self, logits: Tensor, labels: Tensor, *, cross_entropy: bool = False
    ) -> tuple[dict[str, Tensor], EnergyTerms | ExposureTerms | None]:
        """`loss`, and the terms of the `sharing_loss`, None without one.

        Args:
            logits, labels: as for `loss`.
            cross_entropy: whether the terms hold the cross entropies.
        """
        values: dict[str, Tensor] = {}
        terms, sharing = None, sharing_loss(self.losses)
        for loss in self.losses:
            if hasattr(loss, "iteration"):
                loss.iteration = MessageHub.get_current_instance().get_info("iter", 0)
            if loss is sharing:
                terms = sharing.terms(
                    self.class_logits(logits), labels, cross_entropy=cross_entropy
                )
                value = loss.loss_weight * terms.loss(loss.options["reduction"])
            else:
                value = loss(self._channels_for(loss, logits), labels)
            values[str(loss.loss_name)] = value
        with torch.no_grad():
            sums = pixel_sums(self.class_logits(logits)) if terms is None else terms
            energies = -sums.logsumexps
            pairs = ((energies[mask].sum(), mask.sum()) for mask in split_labels(labels))
            found, present = means(*pairs)
        for index, name in enumerate(("energy_known", "energy_outlier")):
            if present[index]:
                values[name] = found[index]
        return values, terms

    def _channels_for(self, module: nn.Module, logits: Tensor) -> Tensor:
        """The channels that a score or loss reads."""
        class_logits = self.class_logits(logits)
        return logits if wants_all_channels(module) else class_logits


def check_label_options(loss: nn.Module) -> None:
    """Refuse a loss with labels of its own: it would train on what the others leave out.

    Raises:
        ValueError: its `outlier_index` or `ignore_index` is another than the package's.
    """
    options = getattr(loss, "options", {})
    for name, expected in (("outlier_index", OUTLIER), ("ignore_index", IGNORE)):
        if options.get(name, expected) != expected:
            raise ValueError(
                f"{type(loss).__name__}: {name}={options[name]} in a model, whose losses get "
                f"{expected} for such pixels; leave it out. decode_head.ignore_index names a "
                "further label that all losses ignore"
            )


def wants_all_channels(module: nn.Module) -> bool:
    """Whether a score or loss reads the channels beyond the classes as well."""
    channels = getattr(module, "channels", "classes")
    if channels not in ("classes", "all"):
        raise ValueError(
            f"{type(module).__name__}.channels must be 'classes' or 'all', got {channels!r}"
        )
    return channels == "all"
