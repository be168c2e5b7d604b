"""A trained copy of the last modules of a segmentor, beside the frozen ones."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ood_seg.models.fork import PARTS, copied_names
from ood_seg.models.learned_head import layers_read, without_learned_head
from ood_seg.models.shared_computation import (
    run_both,
    shallow_copy,
    with_copies,
    without_inplace,
    without_part,
)

if TYPE_CHECKING:
    from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder

First = TypeVar("First")
Second = TypeVar("Second")
_PREFIX = "anomaly_branch."


class AnomalyBranch(nn.Module):
    """Copies of some modules of a segmentor; with them it gives the anomaly score.

    ```
    images -> what lies before the fork -> frozen modules ---> logits, labels
                                       `-> copied modules ---> anomaly score; trained
    ```

    The segmentor itself is frozen and always runs in evaluation mode, so its logits stay those of
    the pre-trained weights, bit for bit. Copies keep the names of their originals: parameter
    `decode_head.conv_seg.weight` is copied to `anomaly_branch.decode_head.conv_seg.weight`.

    Modules outside the fork that follow a copied one belong to both networks: they run twice, with
    the frozen weights.

    In training, single layers (batch norm, dropout) are in training mode, but modules made of
    several compute what they compute at inference; heads with further outputs in training give
    the one map of inference.

    Args:
        model: the segmentor; it is frozen here.
        fork: shell patterns on names of parameters and buffers of backbone, neck and decode head,
            such as `decode_head.*` or `backbone.encoder.1[2-5].*`. The module that holds a
            matching one is copied with all that it holds, and an attention layer whole.

    Attributes:
        fork: the patterns.
        names: of the copied modules.

    Raises:
        ValueError: no pattern is given, or one matches nothing.
    """

    def __init__(self, model: OODEncoderDecoder, fork: Sequence[str]) -> None:
        super().__init__()
        self.fork = (fork,) if isinstance(fork, str) else tuple(fork)
        self.names = tuple(copied_names(model, self.fork))
        for part in _frozen_parts(model).values():
            without_inplace(part)
        for name in self.names:
            _install(self, name, copy.deepcopy(model.get_submodule(name)))
        parameters = model.named_parameters()
        self._trainable = frozenset(key for key, value in parameters if value.requires_grad)
        self.freeze(model)

    @property
    def copies(self) -> dict[str, nn.Module]:
        """The copied modules by the names of their originals."""
        return {name: self.get_submodule(name) for name in self.names}

    def train(self, mode: bool = True) -> AnomalyBranch:
        """Set the mode of single layers; composed modules keep their inference forward."""
        for module in self.modules():
            module.training = mode and not module._modules
        self.training = mode
        return self

    def freeze(self, model: OODEncoderDecoder) -> None:
        """Put the segmentor in evaluation mode; while the model is trained, stop its gradients.

        Outside training its parameters keep the flag that they have in a model without a branch,
        because torch's matrix product rounds differently without it, even where no gradient is
        computed.
        """
        for name, part in _frozen_parts(model).items():
            part.eval()
            for key, parameter in part.named_parameters():
                is_trainable = f"{name}.{key}" in self._trainable
                parameter.requires_grad_(is_trainable and not model.training)

    def network(self, model: OODEncoderDecoder) -> OODEncoderDecoder:
        """The segmentor of the anomaly score: a model without a branch, with the copied modules.

        Its parameters have the names of a plain model. It holds the modules of `model`, so it is
        up to date until modules are replaced.
        """
        return with_copies(_without_branch(model), self.copies)

    def both(
        self,
        model: OODEncoderDecoder,
        first: Callable[[OODEncoderDecoder], First],
        second: Callable[[OODEncoderDecoder], Second],
    ) -> tuple[First, Second]:
        """Run the frozen segmentor and `network(model)`; what lies before the fork runs once.

        Args:
            model: with this branch.
            first: called with the frozen segmentor, a model without branch and learned head.
            second: called with the segmentor of the anomaly score, after that.
        """
        return run_both(
            _without_branch(model),
            self.copies,
            lambda network: first(without_learned_head(network)),
            second,
            layers=layers_read(model),
        )

    def logits(
        self, model: OODEncoderDecoder, run: Callable[[OODEncoderDecoder], Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Class logits of the frozen segmentor, and all logits of that of the anomaly score.

        Args:
            model: with this branch.
            run: returns the logits `(N, C', *)` of a model without a branch.

        Raises:
            ValueError: `run` does not return one tensor.
        """
        frozen, trained = self.both(model, run, run)
        if not isinstance(frozen, Tensor):
            raise ValueError(
                f"{type(model.decode_head).__name__} returns {type(frozen).__name__}, expected "
                "one map of logits"
            )
        return model.energy_head.class_logits(frozen), trained

    def postprocess(
        self,
        model: OODEncoderDecoder,
        seg_logits: Tensor,
        data_samples: list[SegDataSample] | None,
    ) -> list[SegDataSample]:
        """`OODEncoderDecoder.postprocess_result` of `(N, C + C', H, W)`, see `logits`.

        Both parts are interpolated on their own and in the memory layout that they had, because
        the rounding of an interpolation may depend on the layout.
        """
        classes = model.energy_head.num_classes
        last = torch.contiguous_format if seg_logits.is_contiguous() else torch.channels_last
        frozen, trained = (
            part.contiguous(memory_format=last)
            for part in (seg_logits[:, :classes], seg_logits[:, classes:])
        )
        scored_samples = data_samples and [SegDataSample(metainfo=s.metainfo) for s in data_samples]
        samples = EncoderDecoder.postprocess_result(model, frozen, data_samples)
        scored = _without_branch(model).postprocess_result(trained, scored_samples)
        for sample, other in zip(samples, scored, strict=True):
            logits = other.get("all_logits", other.seg_logits).data
            values = {
                "pred_anomaly": other.pred_anomaly.data,
                "branch_sem_seg": other.pred_sem_seg.data,
                "all_logits": torch.cat([sample.seg_logits.data, logits]),
            }
            sample.set_data({name: PixelData(data=data) for name, data in values.items()})
        return samples

    def loss(
        self, model: OODEncoderDecoder, inputs: Tensor, data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """`OODEncoderDecoder.loss` of the segmentor of the anomaly score.

        A distillation without a checkpoint compares with the frozen segmentor, of which only the
        part behind the fork is computed for it.

        Raises:
            ValueError: no trained parameter has an effect on the losses of the logits.
        """
        if any(teacher.checkpoint is None for teacher in model._teacher):
            logits: list[Tensor] = []

            def loss_beside_frozen(network: OODEncoderDecoder) -> dict[str, Tensor]:
                network._teacher = tuple(
                    teacher.with_logits(logits[0]) if teacher.checkpoint is None else teacher
                    for teacher in network._teacher
                )
                return network.loss(inputs, data_samples)

            _, losses = self.both(
                model,
                lambda network: logits.append(network.small_logits(inputs)),
                loss_beside_frozen,
            )
        else:
            losses = self.network(model).loss(inputs, data_samples)
        if not any(v.requires_grad for k, v in losses.items() if not k.startswith("aux")):
            raise ValueError(
                f"anomaly_branch.fork {list(self.fork)}: no trained parameter of the fork reaches "
                "the logits, so the anomaly score could not change; fork modules that the decode "
                "head reads, such as 'decode_head.*', and leave some of them out of freeze"
            )
        return losses

    def copy_weights(self, model: OODEncoderDecoder) -> None:
        """Set the weights of the copies to those of their originals."""
        for name, module in self.copies.items():
            module.load_state_dict(model.get_submodule(name).state_dict())

    def with_fork(
        self, state_dict: Mapping[str, Tensor], own: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Weights for a model with this branch; those of a model without one are copied into it.

        Args:
            state_dict: weights to be loaded; not changed.
            own: weights of the model, for what `state_dict` lacks outside the fork as well.

        Raises:
            ValueError: they hold another fork.
        """
        keys = {key for key in own if key.startswith(_PREFIX)}
        given = {key for key in state_dict if key.startswith(_PREFIX)}
        if given:
            self._check_fork(given, keys)
            return dict(state_dict)
        originals = {key: key.removeprefix(_PREFIX) for key in keys}
        found = {key: state_dict.get(name, own[name]) for key, name in originals.items()}
        return {**state_dict, **found}

    def _check_fork(self, given: set[str], keys: set[str]) -> None:
        """Raise if a checkpoint's branch does not consist of the same weights."""
        surplus, missing = (
            sorted(key for key in keys if not key.endswith("num_batches_tracked"))
            for keys in (given - keys, keys - given)
        )
        if surplus or missing:
            examples = "; ".join(
                f"{len(found)} {what}, such as {found[0]}"
                for what, found in (("superfluous", surplus), ("missing", missing))
                if found
            )
            raise ValueError(
                f"the checkpoint has another fork than {list(self.fork)}: of the weights under "
                f"{_PREFIX[:-1]}, {examples}. Set model.anomaly_branch.fork to the patterns that "
                "it was trained with, or start from the pre-trained checkpoint"
            )


def _frozen_parts(model: nn.Module) -> dict[str, nn.Module]:
    return {
        name: part for name in (*PARTS, "auxiliary_head") if (part := getattr(model, name, None))
    }


def _without_branch(model: OODEncoderDecoder) -> OODEncoderDecoder:
    """The frozen segmentor, as a model without a branch; its modules are those of the model."""
    plain = without_part(model, _PREFIX[:-1])
    plain.out_channels = model.out_channels - model.energy_head.num_classes
    plain.energy_head = shallow_copy(model.energy_head)
    plain.energy_head.has_branch = False
    return plain


def _install(root: nn.Module, name: str, module: nn.Module) -> None:
    """Register a module under a dotted name, with plain modules on the way to it."""
    *path, last = name.split(".")
    for step in path:
        if step not in root._modules:
            root.add_module(step, nn.Module())
        root = root.get_submodule(step)
    root.add_module(last, module)
