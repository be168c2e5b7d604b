"""Residual pattern learning: a small trained block beside a frozen decode head."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import DepthwiseSeparableASPPHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from ood_seg.labels import IGNORE, hide_ignored
from ood_seg.models.decode_outputs import stacked_labels
from ood_seg.models.deep_wv3_plus_head import DeepWV3PlusHead, ImagePoolingASPP
from ood_seg.models.energy_head import check_label_options
from ood_seg.models.layer_fusion import LayerFusion
from ood_seg.models.residual_block import CopiedASPP, ResidualPatternBlock

if TYPE_CHECKING:
    from mmseg.models.decode_heads.decode_head import BaseDecodeHead as _WrappedHead
else:
    _WrappedHead = object  # the class that is wrapped follows the mixin


@MODELS.register_module(name="ResidualPatternHead")
def residual_pattern_head(
    wraps: str, block: dict | None = None, contrast: dict | None = None, **head
) -> BaseDecodeHead:
    """Build a decode head of a given type, frozen, with a residual block beside it.

    In a config, an inherited decode head is wrapped by
    `decode_head=dict(type="ResidualPatternHead", wraps="FCNHead", block=dict(channels=32))`;
    its other entries stay those of the wrapped head. See `ResidualPatternMixin`.

    Args:
        wraps: type of the decode head, such as `FCNHead`, `DepthwiseSeparableASPPHead`.
        block, contrast: see `ResidualPatternMixin`.
        **head: arguments of the wrapped head.

    Raises:
        ValueError: if there is no such decode head, it computes its own training loss, or an
            option does not fit it.
    """
    wrapped: Any = MODELS.get(wraps)
    is_head = isinstance(wrapped, type) and issubclass(wrapped, BaseDecodeHead)
    if not is_head:
        raise ValueError(
            f"ResidualPatternHead wraps a decode head of mmseg, got wraps={wraps!r}; give the "
            "type that the pre-trained model's config has, such as 'FCNHead'"
        )
    if wrapped.loss is not BaseDecodeHead.loss:
        raise ValueError(
            f"{wraps} computes its own training loss and gives no logits that a residual could "
            "correct; wrap a head that ends in a pixel classifier, such as 'ASPPHead'"
        )
    return _with_residual(wrapped)(block=block or {}, contrast=contrast, **head)


@functools.cache
def _with_residual(wrapped: type[BaseDecodeHead]) -> type[BaseDecodeHead]:
    """The class of a decode head that has the block: parameter names stay the wrapped head's."""
    name = f"ResidualPattern{wrapped.__name__}"
    return type(name, (ResidualPatternMixin, wrapped), {"__module__": __name__})


class ResidualPatternMixin(_WrappedHead):
    """Adds the residual block of residual pattern learning (RPL) to a decode head.

    ```
    inputs -> wrapped head up to its tail -> features -> tail ----------> class logits (N,K,h,w)
       `---> residual_block ---------------> + features -> same tail ---> corrected logits (N,K,h,w)
    output: both, (N,2K,h,w)
    ```

    The tail is what follows the decoder's last concatenation: `final` and `conv_seg` of
    `DeepWV3PlusHead`, `sep_bottleneck` and `conv_seg` of `DepthwiseSeparableASPPHead`, `conv_seg`
    of any other head. The wrapped head is frozen, runs in evaluation mode and without a graph, so
    its logits stay those of the pre-trained model. Freeze the backbone
    with `freeze=dict(trained=["decode_head.residual_block.*"])`.

    Source: Liu et al., "Residual Pattern Learning for Pixel-wise Out-of-Distribution Detection in
    Semantic Segmentation", ICCV 2023, and the code released with it.

    Parameter names are those of the wrapped head, and beside them (released name -> here)
    `residual_block.atten_aspp.*` -> `residual_block.aspp.*` (inside, the names of the wrapped
    head's own pyramid), `residual_block.bot_atten_aspp.weight` -> `residual_block.bot_aspp.weight`,
    `residual_block.atten_aspp_final.weight` -> `residual_block.output.weight`,
    `residual_block.proj_head.proj.0.{weight,bias}` -> `residual_block.projection.{weight,bias}`
    (for training alone; a converted checkpoint leaves it out).
    A pre-trained checkpoint has none of them: the config's `new_weights =
    [r"^decode_head\\.residual_block\\."]` lets training start from it. The block's pyramid then
    starts as a copy of the wrapped head's, where that has one, as in the released code.

    Args:
        block: a dict with, all optional,
            `channels`: of the block's bottleneck (the wrapped head's `channels`);
            `layers` and `in_channels`: names of modules of backbone and neck that the block reads
            instead of the head's input, and the channels of their outputs; see `LayerFusion`;
            `dilations` (2, 4, 8) and `norm_cfg`: of its pyramid, where it is no copy of the
            wrapped head's;
            `initial_output`: 'zeros' (the default: training starts from the pre-trained energies)
            or 'kaiming', the released code's, which also keeps this layer untrained;
            `norm_statistics`: 'updated' (the default, as released) or 'fixed', of the block's
            batch norms in training;
            `projection_channels`: of the features that `contrast` compares; 0 for none.
        contrast: None, or config of a loss on the projected features of the batch, such as
            `ContextRobustContrastiveLoss`.
        **kwargs: arguments of the wrapped head.
    """

    def __init__(self, *, block: dict, contrast: dict | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.requires_grad_(False)
        self._tail = _tail_of(self)
        self.residual_block = _build_block(self, **block)
        fusion = self.residual_block.fusion
        self.read_layers = () if fusion is None else fusion.layers
        if contrast is not None and self.residual_block.projection is None:
            raise ValueError("contrast compares projected features: set block.projection_channels")
        self.contrast: Any = None if contrast is None else MODELS.build(contrast)
        if self.contrast is not None:
            check_label_options(self.contrast)
        self._projected: Tensor | None = None
        # Of the output, which sliding windows are collected in; num_classes stays.
        self.out_channels = 2 * self.num_classes
        self._register_load_state_dict_pre_hook(self._copy_pyramid)

    def train(self, mode: bool = True) -> ResidualPatternMixin:
        """Set the mode of the block; the wrapped head stays in evaluation mode."""
        super().train(False)
        self.training = mode
        self.residual_block.train(mode)
        return self

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Class logits and corrected logits, `(N, 2K, h, w)`."""
        block = self.residual_block
        count = len(inputs) - len(self.read_layers)
        inputs, layers = inputs[:count], inputs[count:]
        class_logits, features = self._frozen_forward(inputs)
        context = self._transform_inputs(inputs) if block.fusion is None else block.fusion(layers)
        hidden = block(context if isinstance(context, Tensor) else context[-1])
        size = features.shape[-2:]
        corrected = features + self._resize(block.output(hidden), size)
        for name in self._tail:
            corrected = getattr(self, name)(corrected)
        self._projected = None
        if self.training and self.contrast is not None and block.projection is not None:
            self._projected = self._resize(block.projection(hidden), size)
        return torch.cat([class_logits, corrected], dim=1)

    @torch.no_grad()
    def _frozen_forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The wrapped head's logits, and the features that enter its tail."""
        found: list[Tensor] = []
        tail = getattr(self, self._tail[0])
        handle = tail.register_forward_pre_hook(lambda _, args: found.append(args[0]))
        try:
            logits = super().forward(inputs)
        finally:
            handle.remove()
        if not found:
            raise ValueError(
                f"{type(self).__name__} makes its logits without its {self._tail[0]}, which the "
                "residual has to enter; wrap a head that ends in conv_seg, such as 'ASPPHead'"
            )
        return logits, found[0]

    def _resize(self, maps: Tensor, size: torch.Size) -> Tensor:
        """Upsample after the 1x1 convolutions: both orders are equal, and this one is faster."""
        return resize(maps, size=size, mode="bilinear", align_corners=self.align_corners)

    def feature_losses(self, data_samples: list[SegDataSample]) -> dict[str, Tensor]:
        """The contrastive loss of the features of the last training forward, if there is one.

        Args:
            data_samples: with `gt_sem_seg`; whole images of outliers also have `gt_context`,
                see `PackOutlierImage`.
        """
        if self._projected is None:
            return {}
        features, self._projected = self._projected, None
        labels = hide_ignored(stacked_labels(data_samples), self.ignore_index).unsqueeze(1)
        none = torch.full_like(labels[0], IGNORE)
        context = torch.stack(
            [s.gt_context.data if "gt_context" in s else none for s in data_samples]
        )
        small = (
            F.interpolate(maps.float(), features.shape[-2:], mode="nearest").long().squeeze(1)
            for maps in (labels, context)
        )
        return {self.contrast.loss_name: self.contrast(features, *small)}

    def loss_by_feat(self, seg_logits: Tensor, batch_data_samples: list) -> dict[str, Tensor]:
        """Refuse the closed-set loss, which cannot train a frozen head."""
        raise ValueError(
            "the decode head wrapped by ResidualPatternHead is frozen, and its output holds two "
            "sets of logits; set model.closed_set_loss=False"
        )

    def _copy_pyramid(self, state_dict: dict, prefix: str, *_) -> None:
        """Add the block's pyramid to weights that have no block; a pre-hook of loading."""
        inside = f"{prefix}residual_block."
        if self.read_layers or any(key.startswith(inside) for key in state_dict):
            return
        block = self.residual_block.state_dict()
        for own, copied in _PYRAMID_COPIES.items():
            for key in [key for key in state_dict if key.startswith(f"{prefix}{own}.")]:
                name = key.replace(f"{prefix}{own}", copied, 1)
                if name in block and block[name].shape == state_dict[key].shape:
                    state_dict[inside + name] = state_dict[key].clone()


# Where the parts of a wrapped head's pyramid go in the block.
_PYRAMID_COPIES = {
    "aspp": "aspp",
    "bot_aspp": "bot_aspp",
    "image_pool": "aspp.image_pool",
    "aspp_modules": "aspp.aspp_modules",
}


def _tail_of(head: BaseDecodeHead) -> tuple[str, ...]:
    """Names of the modules that follow the decoder's last concatenation."""
    if isinstance(head, DeepWV3PlusHead):
        return ("final", "conv_seg")
    if isinstance(head, DepthwiseSeparableASPPHead):
        return ("sep_bottleneck", "conv_seg")
    return ("conv_seg",)


def _build_block(
    head: BaseDecodeHead,
    *,
    channels: int | None = None,
    layers: Sequence[str] = (),
    in_channels: Sequence[int] = (),
    dilations: Sequence[int] | None = None,
    norm_cfg: dict | None = None,
    **options,
) -> ResidualPatternBlock:
    """The block that fits a decode head; its pyramid is like the head's own, if it has one."""
    channels = channels or head.channels
    fusion = LayerFusion(layers, in_channels, channels, norm_cfg) if layers else None
    aspp = None if fusion else _copied_pyramid(head)
    if aspp is not None and (dilations or norm_cfg):
        raise ValueError(
            f"the block's pyramid is a copy of that of {type(head).__name__}; leave out "
            "block.dilations and block.norm_cfg, or give block.layers"
        )
    if aspp is None:
        own = head.in_channels
        width = channels if fusion else own if isinstance(own, int) else own[-1]
        norm_cfg = norm_cfg or head.norm_cfg or {"type": "BN"}
        aspp = ImagePoolingASPP(width, channels, dilations or (2, 4, 8), norm_cfg)
    first = next(m for m in getattr(head, _tail_of(head)[0]).modules() if isinstance(m, nn.Conv2d))
    return ResidualPatternBlock(
        aspp.requires_grad_(), channels, first.in_channels, fusion=fusion, **options
    )


def _copied_pyramid(head: BaseDecodeHead) -> ImagePoolingASPP | CopiedASPP | None:
    """A copy of the head's own pyramid, if it has one."""
    if isinstance(getattr(head, "aspp", None), ImagePoolingASPP):
        return copy.deepcopy(head.aspp)
    if hasattr(head, "image_pool") and hasattr(head, "aspp_modules"):
        return CopiedASPP(head)
    return None
