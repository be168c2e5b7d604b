"""Any mmsegmentation encoder-decoder, with anomaly scores and outlier losses."""

from __future__ import annotations

from mmengine.structures import PixelData
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from mmseg.utils import add_prefix
from torch import Tensor

from ood_seg.labels import hide_outliers
from ood_seg.models.freezing import (
    fix_norm_statistics,
    freeze_parameters,
    switch_off_dropout,
    train_only,
)
from ood_seg.models.teacher import Teacher


@MODELS.register_module()
class OODEncoderDecoder(EncoderDecoder):
    """`EncoderDecoder` that also says, for every pixel, how anomalous it is.

    ```
    training:  loss() -> extract_feat() -> decode_head.forward() -> logits
                                            |- decode_head.loss_by_feat(), outliers hidden
                                            |- auxiliary heads, outliers hidden
                                            |- energy_head.loss()
                                            `- teacher.loss() (optional distillation)
    inference: predict() -> inference() -> postprocess_result() -> seg_logits, pred_sem_seg
                                            `- energy_head.predict() -> pred_anomaly (1,H,W)
    ```

    Parameter names are those of `EncoderDecoder`, so its checkpoints load strictly.

    Args:
        backbone, decode_head, neck, auxiliary_head, ...: as for `EncoderDecoder`.
        energy_head: config of `EnergyHead`; None for the plain energy score.
        freeze: None, or a dict with either `frozen` or `trained`, a list of shell patterns on
            parameter names, and optionally `norm_statistics` ('fixed', the default, or 'updated',
            which is what PEBAL's released code does) and `dropout` ('off', the default, or 'on').
            None trains everything, batch-norm statistics included.
        distillation: None, or a dict with `checkpoint` (the pre-trained weights) and optionally
            `weight` (1.0) and `temperature` (1.0); see `losses.distillation_loss`.
        logits_index: for decode heads whose training forward returns several maps: the index of
            the one that is used at inference.

    Raises:
        ValueError: if the decode head cannot give an anomaly score, or a pattern matches nothing.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        neck: dict | None = None,
        energy_head: dict | None = None,
        freeze: dict | None = None,
        distillation: dict | None = None,
        logits_index: int | None = None,
        **kwargs,
    ) -> None:
        super().__init__(backbone, decode_head, neck=neck, **kwargs)
        self.energy_head = MODELS.build(energy_head or {"type": "EnergyHead"})
        self.logits_index = logits_index
        self._check_decode_head()
        self._fixed_norm = self._fixed_dropout = False
        if freeze is not None:
            self._freeze(**freeze)
        # In a tuple, so that its parameters are none of this module's.
        self._teacher: tuple[Teacher, ...] = ()
        if distillation is not None:
            parts = {"backbone": backbone, "neck": neck, "decode_head": decode_head}
            self._teacher = (Teacher(parts, **distillation),)

    def _check_decode_head(self) -> None:
        """Refuse decode heads from which no class logits can be had."""
        if self.out_channels < 2:
            raise ValueError(
                "anomaly scores compare class logits, so the decode head needs at least 2 "
                f"channels, got {self.out_channels}; use out_channels=2 for binary segmentation"
            )
        overridden = type(self.decode_head).loss is not BaseDecodeHead.loss
        if overridden and len(self.energy_head.losses):
            raise ValueError(
                f"{type(self.decode_head).__name__} computes its own training loss, so outlier "
                "losses cannot reach its logits; use it for inference (losses=[]), or another head"
            )

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
        if frozen:
            freeze_parameters(self, frozen)
        if trained is not None:
            train_only(self, trained)
        self._fixed_norm = norm_statistics == "fixed"
        self._fixed_dropout = dropout == "off"

    def train(self, mode: bool = True) -> OODEncoderDecoder:
        """Set the mode; in training, layers that `freeze` fixed stay in evaluation mode."""
        super().train(mode)
        if mode and self._fixed_norm:
            fix_norm_statistics(self)
        if mode and self._fixed_dropout:
            switch_off_dropout(self)
        return self

    def loss(self, inputs: Tensor, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """Closed-set losses (outliers hidden), outlier losses and distillation.

        Args:
            inputs: `(N, 3, H, W)`, preprocessed.
            data_samples: with `gt_sem_seg`, labels 0..C-1, `OUTLIER` and `IGNORE`.
        """
        features = self.extract_feat(inputs)
        known_samples = [self._hide_outliers(sample) for sample in data_samples]
        outputs = self.decode_head(features)
        losses = add_prefix(self.decode_head.loss_by_feat(outputs, known_samples), "decode")
        if self.with_auxiliary_head:
            losses.update(self._auxiliary_head_forward_train(features, known_samples))

        labels = self.decode_head._stack_batch_gt(data_samples).squeeze(1)
        logits = self._main_logits(outputs)
        resized = resize(
            logits, size=labels.shape[-2:], mode="bilinear", align_corners=self.align_corners
        )
        losses.update(add_prefix(self.energy_head.loss(resized, labels), "anomaly"))
        for teacher in self._teacher:
            class_logits = self.energy_head.class_logits(logits)
            losses["loss_distillation"] = teacher.loss(inputs, class_logits, labels)
        return losses

    def _hide_outliers(self, sample: SegDataSample) -> SegDataSample:
        """The same sample, with outlier pixels ignored; the input stays as it is."""
        known = SegDataSample(metainfo=sample.metainfo)
        known.set_data(dict(sample.items()))
        labels = hide_outliers(sample.gt_sem_seg.data, ignore_index=self.decode_head.ignore_index)
        known.gt_sem_seg = PixelData(data=labels)
        return known

    def _main_logits(self, outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
        """The map that is used at inference, among those of the training forward."""
        if isinstance(outputs, Tensor):
            return outputs
        if self.logits_index is None:
            raise ValueError(
                f"{type(self.decode_head).__name__} returns {len(outputs)} maps in training; set "
                "model.logits_index to the one that it returns at inference"
            )
        return outputs[self.logits_index]

    def postprocess_result(
        self, seg_logits: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """mmseg's post-processing on the class channels, then the anomaly map of each image.

        Returns:
            Samples with `seg_logits (C,H,W)`, `pred_sem_seg (1,H,W)` and `pred_anomaly (1,H,W)`
            at the size of the original image.
        """
        class_logits = self.energy_head.class_logits(seg_logits)
        samples = super().postprocess_result(class_logits, data_samples)
        for sample in samples:
            scores = self.energy_head.predict(sample.seg_logits.data.unsqueeze(0))
            sample.set_data({"pred_anomaly": PixelData(data=scores)})
        return samples
