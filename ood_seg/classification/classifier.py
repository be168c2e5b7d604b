"""A classification network with anomaly scores and outlier losses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.structures import BaseDataElement
from mmseg.registry import MODELS
from torch import Tensor, nn

from ood_seg.detectors import Network
from ood_seg.labels import IGNORE, hide_outliers, require_distinct_labels
from ood_seg.models.detector_scores import network_scores, require_layers

_PREFIX = "network."


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """`OODEncoderDecoder` for whole images: a network, its cross entropy, and an energy head.

    ```
    images (N,3,H,W) -> network -> logits (N,C) -> class, cross entropy (outliers hidden)
                                            `-> energy head: anomaly score (N,), outlier losses
    ```

    Checkpoints of the network alone load as well, with or without data-parallel prefix.

    Args:
        network: config of a network, or the network itself: images to logits, with the attributes
            `classifier_name` and `feature_layers`, see `with_layer_names`.
        data_preprocessor: config; mean and std by which images are normalised.
        energy_head: config of `EnergyHead`; None for the plain energy score.
        class_counts: training images of each class, for logit adjustment.
        logit_adjustment: where `log(class_counts / sum)` is used: `training` adds it to the logits
            in the cross entropy; `inference` subtracts it before the class is chosen; None: not
            at all. The anomaly score is always computed from the plain logits.
        adjustment_strength: `tau`, its factor.

    Source of the logit adjustment: Menon et al., "Long-Tail Learning via Logit Adjustment", ICLR
    2021, equations 9 (inference) and 10 (training).

    Attributes:
        num_classes: C, of the classifier or of the energy head.
        out_channels: of the classifier.

    Raises:
        ValueError: a logit adjustment of another kind, or without counts of all classes.
    """

    ignore_index = IGNORE
    align_corners = False
    anomaly_branch = None
    test_cfg = None

    def __init__(
        self,
        network: dict | nn.Module,
        data_preprocessor: dict | nn.Module | None = None,
        energy_head: dict | None = None,
        class_counts: Sequence[int] | None = None,
        logit_adjustment: str | None = None,
        adjustment_strength: float = 1.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)
        built: Any = MODELS.build(network) if isinstance(network, dict) else network
        self.network = built
        self.energy_head = MODELS.build(energy_head or {"type": "EnergyHead"})
        classifier = built.get_submodule(built.classifier_name)
        self.num_classes = self.energy_head.num_classes or classifier.out_features
        self.out_channels = classifier.out_features
        if logit_adjustment not in (None, "training", "inference"):
            raise ValueError(
                f"logit_adjustment must be training, inference or None, got {logit_adjustment!r}"
            )
        if logit_adjustment and (
            len(class_counts or ()) != self.num_classes or min(class_counts or ()) < 1
        ):
            raise ValueError(
                f"logit_adjustment needs class_counts, a positive number for each of "
                f"{self.num_classes} classes; got {class_counts}"
            )
        self.logit_adjustment = logit_adjustment
        counts = torch.as_tensor(class_counts or [1] * self.num_classes, dtype=torch.float64)
        self.register_buffer(
            "log_shares",
            (adjustment_strength * (counts / counts.sum()).log()).float(),
            persistent=False,
        )
        self.log_shares: Tensor

    def detector_network(self, forward: Callable[[Tensor], Tensor] | None = None) -> Network:
        """The network with its layers by name, for the detectors.

        Args:
            forward: images to logits; None: the network.
        """
        std = getattr(self.data_preprocessor, "std", None)
        return Network(
            self.network,
            forward or self.network,
            classifier=self.network.classifier_name,
            num_classes=self.num_classes,
            input_std=None if std is None else std.flatten(),
        )

    def forward(
        self,
        inputs: Tensor,
        data_samples: list[BaseDataElement] | None = None,
        mode: str = "tensor",
    ) -> Any:
        """See `BaseModel`: `tensor` gives logits, `loss` losses by name, `predict` samples."""
        if mode == "tensor":
            return self._forward(inputs)
        if mode == "loss":
            return self.loss(inputs, data_samples or [])
        return self.predict(inputs, data_samples)

    def loss(self, inputs: Tensor, data_samples: list[BaseDataElement]) -> dict[str, Tensor]:
        """Cross entropy of the known images, and the losses of the energy head.

        Args:
            inputs: `(N, 3, H, W)`, preprocessed.
            data_samples: with `gt_label` 0..C-1 or `OUTLIER`, of the split `train`.

        Raises:
            ValueError: a sample is of the split `test`, no sample is known, or a label is no class.
        """
        require_distinct_labels(self.num_classes)
        for sample in data_samples:
            if sample.get("split") != "train":
                raise ValueError(
                    f"image {sample.get('img_path')} is of the split {sample.get('split')}, on "
                    "which nothing is trained; give the training dataset split='train'"
                )
        labels = image_labels(data_samples).to(inputs.device)
        logits = self._forward(inputs)
        known = hide_outliers(labels)
        if not (known != IGNORE).any():
            raise ValueError("a training batch holds no known image")
        if int(known.masked_fill(known == IGNORE, 0).max()) >= self.num_classes:
            raise ValueError(f"labels must be 0..{self.num_classes - 1}, got {labels.tolist()}")
        classes = self.energy_head.class_logits(logits)
        if self.logit_adjustment == "training":
            classes = classes + self.log_shares
        losses = {"loss_cross_entropy": F.cross_entropy(classes, known, ignore_index=IGNORE)}
        outlier_losses = self.energy_head.loss(logits, labels)
        return {**losses, **{f"anomaly.{name}": one for name, one in outlier_losses.items()}}

    def predict(
        self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None
    ) -> list[BaseDataElement]:
        """Class, anomaly score and logits of each image.

        Args:
            inputs: `(N, 3, H, W)`, preprocessed.
            data_samples: of the images, or None.

        Returns:
            Samples with `pred_label ()` int64, `pred_anomaly ()` and `logits (C,)`.

        Raises:
            ValueError: the score was fitted on another model, or lacks a layer.
        """
        score = self.energy_head.score
        if self.energy_head.needs == "logits":
            logits = self._forward(inputs)
            scores = self.energy_head.predict(logits)
        else:
            network = self._checked_network()
            logits, scores = network_scores(score, network, inputs)
        classes = self.energy_head.class_logits(logits)
        if self.logit_adjustment == "inference":
            classes = classes - self.log_shares
        samples = data_samples or [BaseDataElement() for _ in inputs]
        for sample, label, anomaly, one in zip(
            samples, classes.argmax(dim=1), scores, logits, strict=True
        ):
            sample.pred_label, sample.pred_anomaly, sample.logits = label, anomaly, one
        return samples

    def with_extra_channels(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of the network alone under the names of this model; others as they are."""
        if any(key.startswith(_PREFIX) for key in state_dict):
            return dict(state_dict)
        return {_PREFIX + key: value for key, value in state_dict.items()}

    def _forward(self, inputs: Tensor, data_samples: list[BaseDataElement] | None = None) -> Tensor:
        """Logits `(N, C')` of prepared images."""
        return self.network(inputs)

    def _checked_network(self) -> Network:
        """The network, compared once with the one that the score was fitted on."""
        network = self.detector_network()
        score = self.energy_head.score
        if not getattr(self, "_is_checked", False):
            if hasattr(score, "check_model"):
                score.check_model(network)
            require_layers(network, getattr(score, "layers", ()))
            self._is_checked = True
        return network

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Load; a checkpoint of the network alone is renamed first."""
        self._is_checked = False  # against the new weights
        if not prefix:
            renamed = self.with_extra_channels(state_dict)
            state_dict.clear()
            state_dict.update(renamed)
        super()._load_from_state_dict(state_dict, prefix, *args)


def image_labels(samples: Sequence[BaseDataElement]) -> Tensor:
    """Labels `(N,)` int64 of a batch of images."""
    return torch.stack([torch.as_tensor(sample.gt_label) for sample in samples]).long()
