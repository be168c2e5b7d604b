"""Any mmsegmentation encoder-decoder with anomaly scores and outlier losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from ood_seg.labels import require_distinct_labels
from ood_seg.models.anomaly_branch import AnomalyBranch
from ood_seg.models.decode_outputs import (
    main_logits,
    own_inference,
    require_class_logits,
    require_image_channels,
    require_loss_of_logits,
)
from ood_seg.models.detector_scores import network_of
from ood_seg.models.extra_channels import fitting_weights
from ood_seg.models.fork import fork_patterns
from ood_seg.models.freezing import Freezing
from ood_seg.models.input_sizes import pad_to_accepted_sizes
from ood_seg.models.learned_head import build_learned_head, reading_layers
from ood_seg.models.prediction import (
    CheckedNetwork,
    can_predict_fused,
    input_size,
    predict_fused,
    predict_with_network,
    scored_samples,
)
from ood_seg.models.teacher import Teacher, teacher_of
from ood_seg.models.training_losses import training_losses


@MODELS.register_module()
class OODEncoderDecoder(EncoderDecoder):
    """`EncoderDecoder` with an anomaly score for every pixel.

    ```
    training:  loss() -> training_losses()
    inference: predict() -> inference() -> postprocess_result() -> seg_logits, pred_sem_seg
                                            `- energy_head.predict() -> pred_anomaly (1,H,W)
               or, without full-size logits, predict_fused() in row blocks
               or, for scores of activations or gradients, predict_with_network()
    ```

    With an anomaly branch all of `loss()` is that of the branch's network, and logits are those of
    the frozen segmentor followed by those of the branch, which the score reads; see
    `AnomalyBranch`.

    Parameter names are those of `EncoderDecoder`, so its checkpoints load strictly. A decode head
    may give more channels than there are classes (`decode_head.num_classes` 20 and
    `energy_head.num_classes` 19 for PEBAL's abstention): only scores and losses that ask for them
    in the energy head get them. A checkpoint of the classes alone loads into such a model; see
    `with_extra_channels`.

    Args:
        backbone, decode_head, neck, auxiliary_head, ...: as for `EncoderDecoder`. A list of decode
            heads is a cascade, with the parameter names of `CascadeEncoderDecoder`.
        energy_head: config of `EnergyHead`; None for the plain energy score.
        anomaly_branch: None, or a dict with `fork`, a list of shell patterns on parameter names of
            backbone, neck and decode head, such as `["decode_head.*"]`: the modules that they
            match are copied and trained for the anomaly score; labels and logits stay those of
            the pre-trained weights, bit for bit. See `AnomalyBranch`.
        learned_head: None, or config of a head on named layers, such as `LearnedHead`, whose
            channels follow the logits, for scores and losses with `channels = "all"`. Beside an
            anomaly branch, the layers are the branch's.
        freeze: None, or a dict with either `frozen` or `trained`, a list of shell patterns on
            parameter names, and optionally `norm_statistics` ('fixed', the default, or 'updated',
            which is what PEBAL's released code does) and `dropout` ('off', the default, or 'on').
            None trains everything, batch-norm statistics included. With an anomaly branch, it
            applies inside the fork alone, where patterns are names without `anomaly_branch.`.
        distillation: None, or a dict with `checkpoint` (the pre-trained weights) and optionally
            `weight` (1.0), `temperature` (1.0) and `channels_last` (False); see `Teacher` and
            `losses.distillation_loss`. With an anomaly branch, no checkpoint is needed: the
            teacher is the frozen segmentor, of which only the part behind the fork is computed
            for it.
        logits_index: for decode heads whose training forward returns several maps: the index of
            the one that is used at inference; known for those of mmseg.
        closed_set_loss: False leaves out the losses of decode and auxiliary heads, for methods
            whose outlier losses include a closed-set term; an auxiliary head is then not trained.
        keep_logits: True gives predictions the full-size `seg_logits`, as mmseg does. False
            leaves them out where `can_predict_fused`: the same labels and scores in a fraction
            of time and memory.
        num_stages: of a cascade: the number of decode heads, as for `CascadeEncoderDecoder`.

    Raises:
        ValueError: if the decode head cannot give an anomaly score, a pattern matches nothing, or
            a distillation has neither a checkpoint nor an anomaly branch.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict | list[dict],
        neck: dict | None = None,
        energy_head: dict | None = None,
        anomaly_branch: dict | None = None,
        learned_head: dict | None = None,
        freeze: dict | None = None,
        distillation: dict | None = None,
        logits_index: int | None = None,
        closed_set_loss: bool = True,
        keep_logits: bool = True,
        num_stages: int | None = None,
        **kwargs,
    ) -> None:
        if isinstance(decode_head, Sequence):
            decode_head = {
                "type": "CascadedHeads",
                "stages": decode_head,
                "num_stages": num_stages,
            }
        super().__init__(backbone, decode_head, neck=neck, **kwargs)
        pad_to_accepted_sizes(self.data_preprocessor, self.backbone)
        self.energy_head = MODELS.build(energy_head or {"type": "EnergyHead"})
        self.checked_network = CheckedNetwork()
        self.logits_index = logits_index
        self.closed_set_loss = closed_set_loss
        self.keep_logits = keep_logits
        require_class_logits(self.decode_head)
        if len(self.energy_head.losses):
            require_loss_of_logits(self.decode_head)
        self._in_channels = backbone.get("in_channels")
        if self.energy_head.num_classes is None and (anomaly_branch or learned_head):
            self.energy_head.num_classes = self.decode_head.out_channels
        if self.energy_head.num_classes is not None:
            self.num_classes = self.energy_head.num_classes  # the head's counts all channels
        self.anomaly_branch: AnomalyBranch | None = None
        self.learned_head: Any = None  # a LearnedHead, or a module of its form
        if anomaly_branch is not None:
            self.anomaly_branch = AnomalyBranch(self, fork_patterns(anomaly_branch))
            self.energy_head.has_branch = True
            self.out_channels += self.num_classes
        if learned_head is not None:
            self.learned_head = build_learned_head(self, learned_head)
            self.out_channels += self.learned_head.out_channels
        self._freezing = None if freeze is None else Freezing(**freeze)
        if self._freezing is not None:
            self._freezing.stop_gradients(self.anomaly_branch or self)
        if not closed_set_loss and self.with_auxiliary_head:
            # No loss reaches it, and data-parallel training stops at trained weights of that kind.
            self.auxiliary_head.requires_grad_(False)
        # In a tuple, so that its parameters are none of this module's.
        self._teacher: tuple[Teacher, ...] = ()
        if distillation is not None:
            parts = {"backbone": backbone, "neck": neck, "decode_head": decode_head}
            self._teacher = (teacher_of(self, parts, distillation),)

    @property
    def ignore_index(self) -> int:
        """Label that the decode head ignores; beside `IGNORE`, no other is ignored anywhere."""
        return self.decode_head.ignore_index

    def init_weights(self) -> None:
        """Initialise as the config says; the branch starts from the weights of the segmentor."""
        super().init_weights()
        if self.anomaly_branch is not None:
            self.anomaly_branch.copy_weights(self)

    def train(self, mode: bool = True) -> OODEncoderDecoder:
        """Set the mode; in training, layers that `freeze` fixed stay in evaluation mode."""
        super().train(mode)
        if mode and self._freezing is not None:
            self._freezing.fix_layers(self)
        if self.anomaly_branch is not None:
            self.anomaly_branch.freeze(self)
        return self

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Closed-set losses (outliers hidden), outlier losses and distillation.

        Args:
            inputs: `(N, 3, H, W)`, preprocessed.
            data_samples: with `gt_sem_seg`, labels 0..C-1, `OUTLIER` and `IGNORE`. What the decode
                head ignores is ignored by all losses.

        Raises:
            ValueError: an auxiliary head ignores another label than the decode head; the decode
                head computes its own loss, returns several unknown maps, or trains on edges that
                the samples lack; or more than 254 classes, of which two would have the labels
                `OUTLIER` and `IGNORE`.
        """
        require_distinct_labels(self.num_classes)
        require_loss_of_logits(self.decode_head)
        if self.anomaly_branch is not None:
            return self.anomaly_branch.loss(self, inputs, data_samples)
        return training_losses(self, inputs, data_samples)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Features of preprocessed images, followed by the layers that the decode head reads.

        Raises:
            ValueError: the images have another number of channels than the backbone takes, or
                there is no such layer in backbone and neck.
        """
        self.require_channels(inputs.shape[1])
        layers = getattr(self.decode_head, "read_layers", ())
        if not layers:
            return super().extract_feat(inputs)
        with network_of(self).recording(layers) as features:
            maps = super().extract_feat(inputs)
        return (*maps, *(features[name] for name in layers))

    def require_channels(self, given: int) -> None:
        """Raise unless the backbone takes images of that number of channels.

        Raises:
            ValueError: its config states another number.
        """
        require_image_channels(self._in_channels, given)

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        """Logits of inference at the decode head's resolution, `(N, C', h, w)`."""
        with reading_layers(self) as with_channels:
            outputs = self.decode_head(self.extract_feat(inputs))
        return with_channels(main_logits(self.decode_head, outputs, self.logits_index))

    def small_logits(self, inputs: Tensor) -> Tensor:
        """Logits `(N, C', h, w)` at the decode head's resolution, a learned head's channels last.

        With an anomaly branch, its C' channels follow the C class channels of the frozen
        segmentor, `(N, C + C', h, w)`. `_forward` (`mode='tensor'`) is that of the latter.

        Args:
            inputs: `(N, 3, H, W)`, preprocessed.
        """
        if self.anomaly_branch is None:
            return self._forward(inputs)
        both = self.anomaly_branch.logits(self, lambda network: network.small_logits(inputs))
        return torch.cat(both, dim=1)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits at the size of the input; see `small_logits` for their channels."""
        if self.anomaly_branch is not None:
            run = lambda network: network.encode_decode(inputs, batch_img_metas)  # noqa: E731
            return torch.cat(self.anomaly_branch.logits(self, run), dim=1)
        if self.learned_head is not None and own_inference(self.decode_head) is None:
            size = input_size(batch_img_metas[0])  # one interpolation, as with row blocks
            return resize(self._forward(inputs), size, None, "bilinear", self.align_corners)
        with reading_layers(self) as with_channels:
            logits = super().encode_decode(inputs, batch_img_metas)
        return with_channels(logits)

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Labels and anomaly map of each image, and its logits if `keep_logits`.

        Args:
            inputs: `(N, 3, H, W)`, preprocessed.
            data_samples: of the images, or None.

        Raises:
            ValueError: the score was fitted on another model, lacks a layer, or reads more than
                logits while windows are averaged.
        """
        network = self.checked_network.get(self)
        if self.energy_head.needs != "logits":
            return predict_with_network(self, network, inputs, data_samples)
        if not self.keep_logits and can_predict_fused(self, data_samples):
            return predict_fused(self, inputs, data_samples)
        return super().predict(inputs, data_samples)

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """mmseg's post-processing on the class channels, then the anomaly map of each image.

        Returns:
            Samples with `seg_logits (C,H,W)`, `pred_sem_seg (1,H,W)` and `pred_anomaly (1,H,W)`
            at the size of the original image; and `all_logits (C',H,W)` where the score needs
            the channels beyond the classes. With an anomaly branch also `branch_sem_seg
            (1,H,W)`, the labels that the branch would give.
        """
        if self.anomaly_branch is not None:
            return self.anomaly_branch.postprocess(self, seg_logits, data_samples)
        return scored_samples(self, seg_logits, data_samples)

    def with_extra_channels(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights as `extra_channels.fitting_weights`, and as `AnomalyBranch.with_fork`.

        Raises:
            ValueError: the weights hold another anomaly branch.
        """
        weights = fitting_weights(self, state_dict)
        if self.anomaly_branch is not None:
            weights = self.anomaly_branch.with_fork(weights, self.state_dict())
        return weights

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        """Load, after widening the classifier of a checkpoint of the classes alone."""
        self.checked_network = CheckedNetwork()  # the score is checked against the new weights
        if not prefix:  # as part of another module, keys would have other names
            state_dict.update(self.with_extra_channels(state_dict))
        super()._load_from_state_dict(state_dict, prefix, *args)
