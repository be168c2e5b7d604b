"""Any mmsegmentation encoder-decoder with anomaly scores and outlier losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor, nn

from ood_seg.labels import (
    IGNORE,
    OUTLIER,
    hide_ignored,
    hide_outliers,
    require_distinct_labels,
)
from ood_seg.models.anomaly_branch import AnomalyBranch
from ood_seg.models.decode_outputs import (
    classifier_name,
    computes_own_loss,
    main_logits,
    require_edges,
    stacked_labels,
    trains_several_maps,
)
from ood_seg.models.extra_channels import widen_rows
from ood_seg.models.freezing import (
    fix_norm_statistics,
    freeze_parameters,
    switch_off_dropout,
    train_only,
)
from ood_seg.models.prediction import (
    CheckedNetwork,
    add_prediction,
    can_predict_fused,
    predict_fused,
    predict_with_network,
)
from ood_seg.models.teacher import Teacher


@MODELS.register_module()
class OODEncoderDecoder(EncoderDecoder):
    """`EncoderDecoder` with an anomaly score for every pixel.

    ```
    training:  loss() -> extract_feat() -> decode_head.forward() -> logits
                                            |- decode_head.loss_by_feat(), outliers hidden
                                            |- auxiliary heads, outliers hidden
                                            |- energy_head.loss()
                                            |- decode_head.feature_losses(), if it has any
                                            `- teacher.loss() (optional distillation)
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
        freeze: None, or a dict with either `frozen` or `trained`, a list of shell patterns on
            parameter names, and optionally `norm_statistics` ('fixed', the default, or 'updated',
            which is what PEBAL's released code does) and `dropout` ('off', the default, or 'on').
            None trains everything, batch-norm statistics included. With an anomaly branch, it
            applies inside the fork, where patterns are names without `anomaly_branch.`.
        distillation: None, or a dict with `checkpoint` (the pre-trained weights) and optionally
            `weight` (1.0) and `temperature` (1.0); see `losses.distillation_loss`. With an
            anomaly branch, no checkpoint is needed: the teacher is the frozen segmentor, of which
            only the part behind the fork is computed for it.
        logits_index: for decode heads whose training forward returns several maps: the index of
            the one that is used at inference; known for those of mmseg.
        closed_set_loss: False leaves out the losses of decode and auxiliary heads, for methods
            whose outlier losses include a closed-set term; an auxiliary head is then not trained.
        keep_logits: True gives predictions the full-size `seg_logits`, as mmseg does. False
            leaves them out where `can_predict_fused`: the same labels and scores in a fraction
            of time and memory.
        num_stages: of a cascade; as in the config of a `CascadeEncoderDecoder`, where it is the
            number of decode heads.

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
        freeze: dict | None = None,
        distillation: dict | None = None,
        logits_index: int | None = None,
        closed_set_loss: bool = True,
        keep_logits: bool = True,
        num_stages: int | None = None,
        **kwargs,
    ) -> None:
        if isinstance(decode_head, Sequence):
            decode_head = {"type": "CascadedHeads", "stages": decode_head}
            _check_stages(num_stages, len(decode_head["stages"]))
        super().__init__(backbone, decode_head, neck=neck, **kwargs)
        self.energy_head = MODELS.build(energy_head or {"type": "EnergyHead"})
        self.checked_network = CheckedNetwork()
        self.logits_index = logits_index
        self.closed_set_loss = closed_set_loss
        self.keep_logits = keep_logits
        self._check_decode_head()
        self._in_channels = backbone.get("in_channels")
        if self.energy_head.num_classes is not None:
            self.num_classes = self.energy_head.num_classes  # the head's counts all channels
        self.anomaly_branch: AnomalyBranch | None = None
        if anomaly_branch is not None:
            self._fork(anomaly_branch)
        self._fixed_norm = self._fixed_dropout = False
        if freeze is not None:
            self._freeze(**freeze)
        if not closed_set_loss and self.with_auxiliary_head:
            # No loss reaches it, and data-parallel training stops at trained weights of that kind.
            self.auxiliary_head.requires_grad_(False)
        # In a tuple, so that its parameters are none of this module's.
        self._teacher: tuple[Teacher, ...] = ()
        if distillation is not None:
            if self.anomaly_branch is None and distillation.get("checkpoint") is None:
                raise ValueError(
                    "distillation needs checkpoint, the file with the pre-trained weights; only a "
                    "model with an anomaly_branch is its own teacher"
                )
            if self.num_classes != self.decode_head.num_classes:  # it knows the classes alone
                decode_head = {**decode_head, "num_classes": self.num_classes}
            parts = {"backbone": backbone, "neck": neck, "decode_head": decode_head}
            self._teacher = (Teacher(parts, **distillation),)

    @property
    def ignore_index(self) -> int:
        """Label that the decode head ignores; beside `IGNORE`, no other is ignored anywhere."""
        return self.decode_head.ignore_index

    def _check_decode_head(self) -> None:
        """Refuse decode heads that give no class logits, or that ignore outliers."""
        if self.ignore_index == OUTLIER:
            raise ValueError(
                f"decode_head.ignore_index {OUTLIER} is the label of outliers; give it the label "
                f"of the pixels to be ignored, {IGNORE} by default"
            )
        if self.out_channels < 2:
            raise ValueError(
                "anomaly scores compare class logits, so the decode head needs at least 2 "
                f"channels, got {self.out_channels}; use out_channels=2 for binary segmentation"
            )
        if len(self.energy_head.losses):
            self._require_trainable_logits()

    def _require_trainable_logits(self) -> None:
        """Refuse training of decode heads whose loss is not one of a map of logits."""
        if computes_own_loss(self.decode_head):
            head = getattr(self.decode_head, "last", self.decode_head)
            raise ValueError(
                f"{type(head).__name__} computes its own training loss, so outlier "
                "losses cannot reach its logits; use it for inference (losses=[]), or another head"
            )

    def _fork(self, options: dict) -> None:
        """Apply the `anomaly_branch` option; see the class."""
        fork = options.get("fork", ())
        are_patterns = isinstance(fork, Sequence) and all(isinstance(one, str) for one in fork)
        if set(options) != {"fork"} or not are_patterns:
            raise ValueError(
                "anomaly_branch expects fork, a list of shell patterns such as ['decode_head.*'], "
                f"got {dict(options)}"
            )
        self.anomaly_branch = AnomalyBranch(self, fork)
        head = self.energy_head
        head.has_branch = True
        if head.num_classes is None:  # not all channels are classes any more
            head.num_classes = self.decode_head.out_channels
        self.out_channels = head.num_classes + self.decode_head.out_channels

    def init_weights(self) -> None:
        """Initialise as the config says; the branch starts from the weights of the segmentor."""
        super().init_weights()
        if self.anomaly_branch is not None:
            self.anomaly_branch.copy_weights(self)

    def _freeze(
        self,
        *,
        frozen: list[str] | None = None,
        trained: list[str] | None = None,
        norm_statistics: str = "fixed",
        dropout: str = "off",
    ) -> None:
        """Apply the `freeze` option; see the class."""
        if frozen is not None and trained is not None:
            raise ValueError("freeze takes either frozen or trained patterns, got both")
        if norm_statistics not in ("fixed", "updated") or dropout not in ("off", "on"):
            raise ValueError(
                "freeze expects norm_statistics 'fixed' or 'updated' and dropout 'off' or 'on', "
                f"got {norm_statistics!r} and {dropout!r}"
            )
        trainable = self if self.anomaly_branch is None else self.anomaly_branch
        if frozen:
            freeze_parameters(trainable, frozen)
        if trained is not None:
            train_only(trainable, trained)
        self._fixed_norm = norm_statistics == "fixed"
        self._fixed_dropout = dropout == "off"

    def train(self, mode: bool = True) -> OODEncoderDecoder:
        """Set the mode; in training, layers that `freeze` fixed stay in evaluation mode."""
        super().train(mode)
        if mode and self._fixed_norm:
            fix_norm_statistics(self)
        if mode and self._fixed_dropout:
            switch_off_dropout(self)
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
        self._require_trainable_logits()
        if self.anomaly_branch is not None:
            return self.anomaly_branch.loss(self, inputs, data_samples)
        features = self.extract_feat(inputs)
        outputs = self.decode_head(features)
        losses = {}
        if self.closed_set_loss:
            losses.update(self._closed_set_losses(features, outputs, data_samples))
        labels = hide_ignored(stacked_labels(data_samples), self.ignore_index)
        logits = main_logits(self.decode_head, outputs, self.logits_index)
        resized = resize(
            logits, size=labels.shape[-2:], mode="bilinear", align_corners=self.align_corners
        )
        losses.update(add_prefix(self.energy_head.loss(resized, labels), "anomaly"))
        if hasattr(self.decode_head, "feature_losses"):
            losses.update(add_prefix(self.decode_head.feature_losses(data_samples), "anomaly"))
        for teacher in self._teacher:
            class_logits = self.energy_head.class_logits(logits)
            losses["loss_distillation"] = teacher.loss(inputs, class_logits, labels)
        return losses

    def _closed_set_losses(
        self,
        features: tuple[Tensor, ...],
        outputs: Tensor | tuple[Tensor, ...],
        data_samples: list[SegDataSample],
    ) -> dict[str, Tensor]:
        """mmseg's own losses of the class channels, outliers hidden."""
        require_edges(self.decode_head, data_samples)
        known_samples = [self._hide_outliers(sample) for sample in data_samples]
        if isinstance(outputs, Tensor):
            if self.logits_index is not None or trains_several_maps(self.decode_head):
                raise ValueError(
                    f"{type(self.decode_head).__name__} needs for its closed-set loss the further "
                    "maps of training, which an anomaly branch does not compute: set "
                    "closed_set_loss=False"
                )
            outputs = self.energy_head.class_logits(outputs)
        losses = add_prefix(self.decode_head.loss_by_feat(outputs, known_samples), "decode")
        if self.with_auxiliary_head:
            self._check_auxiliary_heads()
            losses.update(self._auxiliary_head_forward_train(features, known_samples))
        return losses

    def _check_auxiliary_heads(self) -> None:
        """Refuse heads that ignore another label: they would train on the hidden outliers."""
        several = isinstance(self.auxiliary_head, nn.ModuleList)
        for head in self.auxiliary_head if several else [self.auxiliary_head]:
            if head.ignore_index != self.ignore_index:
                raise ValueError(
                    f"decode_head.ignore_index is {self.ignore_index} and that of an auxiliary "
                    f"head is {head.ignore_index}; give both the same"
                )

    def _hide_outliers(self, sample: SegDataSample) -> SegDataSample:
        """A copy of the sample in which the decode head ignores outlier and ignored pixels."""
        known = SegDataSample(metainfo=sample.metainfo)
        known.set_data(dict(sample.items()))
        labels = hide_outliers(sample.gt_sem_seg.data, ignore_index=self.ignore_index)
        labels = labels.masked_fill(labels == IGNORE, self.ignore_index)
        known.gt_sem_seg = PixelData(data=labels)
        return known

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Features of preprocessed images.

        Raises:
            ValueError: the images have another number of channels than the backbone takes.
        """
        self.require_channels(inputs.shape[1])
        return super().extract_feat(inputs)

    def require_channels(self, given: int) -> None:
        """Raise unless the backbone takes images of that number of channels.

        Raises:
            ValueError: its config states another number.
        """
        if self._in_channels not in (None, given):
            raise ValueError(
                f"the network takes images of {self._in_channels} channels (backbone.in_channels), "
                f"got {given}; images are read in colour. Only train and test can use "
                "grey ones: load them by dict(type='LoadImageFromFile', "
                "color_type='grayscale'), and give the data_preprocessor one mean and std"
            )

    def _forward(self, inputs: Tensor, data_samples: list[SegDataSample] | None = None) -> Tensor:
        """Logits of inference at the decode head's resolution, `(N, C', h, w)`."""
        outputs = self.decode_head(self.extract_feat(inputs))
        return main_logits(self.decode_head, outputs, self.logits_index)

    def small_logits(self, inputs: Tensor) -> Tensor:
        """Logits at the resolution of the decode head, `(N, C', h, w)`.

        With an anomaly branch, its C' channels follow the C class channels of the frozen
        segmentor, `(N, C + C', h, w)`. `_forward` (`mode='tensor'`) is that of the latter.

        Args:
            inputs: `(N, 3, H, W)`, preprocessed.
        """
        if self.anomaly_branch is None:
            return self._forward(inputs)
        run = lambda network: network.small_logits(inputs)  # noqa: E731
        return torch.cat(self.anomaly_branch.logits(self, run), dim=1)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits at the size of the input; see `small_logits` for their channels."""
        if self.anomaly_branch is None:
            return super().encode_decode(inputs, batch_img_metas)
        run = lambda network: network.encode_decode(inputs, batch_img_metas)  # noqa: E731
        return torch.cat(self.anomaly_branch.logits(self, run), dim=1)

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
        if self.energy_head.scores_all_channels:
            samples = super().postprocess_result(seg_logits, data_samples)
            for sample in samples:
                add_prediction(sample, sample.seg_logits.data, self.energy_head)
            return samples
        class_logits = self.energy_head.class_logits(seg_logits)
        samples = super().postprocess_result(class_logits, data_samples)
        for sample in samples:
            scores = self.energy_head.predict(sample.seg_logits.data.unsqueeze(0))
            sample.set_data({"pred_anomaly": PixelData(data=scores)})
        return samples

    def with_extra_channels(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Weights of a model of the classes alone, made to fit a decode head with more channels.

        The first rows of the classifier come from `state_dict`, the others are this model's own.
        Loading calls this. The classifier is mmseg's `conv_seg`, or the submodule
        that the decode head names in its attribute `classifier_name`. An anomaly branch that the
        weights lack is filled with those of the segmentor.

        Raises:
            ValueError: the weights hold another anomaly branch.
        """
        weights = dict(state_dict)
        if self.decode_head.out_channels != self.num_classes:
            classifier = classifier_name(self.decode_head)
            names = [f"decode_head.{classifier}.{part}" for part in ("weight", "bias")]
            weights = widen_rows(weights, self.state_dict(), names, self.num_classes)
        if self.anomaly_branch is not None:
            weights = self.anomaly_branch.with_fork(weights, self.state_dict())
        return weights

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        """Load, after widening the classifier of a checkpoint of the classes alone."""
        self.checked_network = CheckedNetwork()  # the score is checked against the new weights
        if not prefix:  # as part of another module, keys would have other names
            state_dict.update(self.with_extra_channels(state_dict))
        super()._load_from_state_dict(state_dict, prefix, *args)


def _check_stages(given: int | None, heads: int) -> None:
    """Refuse a number of stages that is not that of the decode heads."""
    if given not in (None, heads):
        raise ValueError(f"model.num_stages is {given}, but decode_head lists {heads} heads")
