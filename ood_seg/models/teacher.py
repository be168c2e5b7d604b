"""The pre-trained segmentor as the teacher of the one that is fine-tuned."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor

from ood_seg.checkpoints import load_weights
from ood_seg.losses import distillation_loss
from ood_seg.models.decode_outputs import main_logits
from ood_seg.models.folding import folded

if TYPE_CHECKING:
    from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder


class Teacher:
    """Frozen copy of a segmentor with its pre-trained weights.

    It is not an `nn.Module` on purpose: as a submodule its weights would enter the student's
    checkpoints, optimiser and parameter names. The weights are read again from their
    file when training resumes, so that a half-trained student never becomes the teacher.

    Args:
        parts: configs of backbone, neck and decode head.
        checkpoint: file with the pre-trained weights; keys must match strictly. None for a model
            with an anomaly branch, whose frozen part is the teacher.
        weight: factor of the distillation loss.
        temperature: of both softmaxes.
        channels_last: hold its weights in this memory format of torch. It depends on the network
            whether that is faster: on a CPU ERFNet, PIDNet and WideResNet38 gain, ResNets lose.
    """

    def __init__(
        self,
        parts: dict,
        checkpoint: str | None = None,
        weight: float = 1.0,
        temperature: float = 1.0,
        channels_last: bool = False,
    ) -> None:
        self.weight = weight
        self.temperature = temperature
        self.checkpoint = checkpoint
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._parts = copy.deepcopy(parts)
        self._network: EncoderDecoder | None = None
        self._is_folded = False
        self._logits: Tensor | None = None

    def with_logits(self, logits: Tensor) -> Teacher:
        """This teacher for one batch of which its logits `(N, C', h, w)` are known."""
        known = copy.copy(self)
        known._logits = logits
        return known

    def logits(self, inputs: Tensor) -> Tensor:
        """Its logits `(N, C', h, w)` of preprocessed images; given ones, or computed."""
        if self._logits is not None:
            return self._logits
        network = self.network(inputs.device)
        if not self._is_folded:
            quick: Any = folded(network, _logits_of, inputs[:1])
            self._network = network = quick.to(memory_format=self._format)
            self._is_folded = True
        with torch.no_grad():
            return _logits_of(network, inputs)

    def network(self, device: torch.device) -> EncoderDecoder:
        """The network in evaluation mode on a device; built and loaded at the first call.

        From the first call of `logits` on its batch norms are folded, see `folded`.
        """
        if self._network is None:
            assert self.checkpoint is not None  # given by the config, see OODEncoderDecoder
            network = EncoderDecoder(**self._parts).eval().requires_grad_(False)
            weights = load_weights(self.checkpoint)
            decoder = {k: v for k, v in weights.items() if not k.startswith("auxiliary_head.")}
            network.load_state_dict(decoder, strict=True)
            self._network = network
        return self._network.to(device)

    def loss(self, inputs: Tensor, logits: Tensor, labels: Tensor) -> Tensor:
        """Weighted distillation loss on known pixels, at the resolution of the decode head.

        Both networks give logits of one size, so nothing is resized but the labels (nearest
        neighbour); at the labels' size the same comparison costs several times as much.

        Args:
            inputs: preprocessed images, `(N, 3, H, W)`.
            logits: student's class logits as the decode head gives them, `(N, C, h, w)`.
            labels: `(N, H, W)`.
        """
        teacher_logits = self.logits(inputs)
        small_labels = F.interpolate(labels[:, None].float(), logits.shape[-2:], mode="nearest")
        loss = distillation_loss(
            logits,
            teacher_logits[:, : logits.shape[1]],
            small_labels[:, 0].long(),
            temperature=self.temperature,
        )
        return self.weight * loss


def _logits_of(network: Any, inputs: Tensor) -> Tensor:
    """Logits of a segmentor at the resolution of its decode head."""
    head = network.decode_head
    return main_logits(head, head(network.extract_feat(inputs))).contiguous()


def teacher_of(
    model: OODEncoderDecoder, parts: dict[str, Any], distillation: dict[str, Any]
) -> Teacher:
    """The teacher of a model, by its option `distillation`.

    Args:
        model: the student.
        parts: configs of its backbone, neck and decode head.
        distillation: arguments of `Teacher`.

    Raises:
        ValueError: neither a checkpoint nor an anomaly branch.
    """
    if model.anomaly_branch is None and distillation.get("checkpoint") is None:
        raise ValueError(
            "distillation needs checkpoint, the file with the pre-trained weights; only a "
            "model with an anomaly_branch is its own teacher"
        )
    if model.num_classes != model.decode_head.num_classes:  # it knows the classes alone
        decode_head = {**parts["decode_head"], "num_classes": model.num_classes}
        parts = {**parts, "decode_head": decode_head}
    return Teacher(parts, **distillation)
