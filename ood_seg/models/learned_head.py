"""A small trained head on named layers of a segmentor, whose channels follow the logits.

```
images -> segmentor -> logits (N,C',h,w) -------------------------.
             `- outputs of named layers -> learned head (N,E,h',w') +-> (N,C'+E,h,w)
```

What its channels mean is defined by losses and scores with `channels = "all"`, which read them
together with the logits. A method is thus a number of channels, a loss and a score.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, kaiming_init, normal_init
from mmseg.models.utils import resize
from mmseg.registry import MODELS
from torch import Tensor, nn

from ood_seg.models.detector_scores import network_of, require_layers
from ood_seg.models.layer_fusion import LayerFusion
from ood_seg.models.shared_computation import without_part

if TYPE_CHECKING:
    from ood_seg.models.ood_encoder_decoder import OODEncoderDecoder


@MODELS.register_module()
class LearnedHead(BaseModule):
    """Convolutions on the outputs of several layers.

    Any other module can take its place in `OODEncoderDecoder(learned_head=...)` that has the two
    attributes below and a `forward` of the same form.

    Args:
        layers: names of modules of the segmentor, such as `backbone.encoder.15`; `penultimate` is
            the classifier's input, the classifier itself gives the logits. The first one sets the
            size of all.
        in_channels: of their outputs.
        out_channels: E, of the result.
        channels: of the 1x1 convolution of all layers.
        convs: of each following convolution its channels, kernel size and dilation.
        norm_cfg: config of a normalisation before each activation; None: none.

    Attributes:
        layers: as above.
        out_channels: as above.

    Raises:
        ValueError: see `LayerFusion`.
    """

    keeps_norm_mode = True  # new beside pre-trained parts; see `fix_norm_statistics`

    def __init__(
        self,
        layers: Sequence[str],
        in_channels: Sequence[int],
        out_channels: int,
        channels: int = 256,
        convs: Sequence[tuple[int, int, int]] = (),
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.layers = tuple(layers)
        self.out_channels = out_channels
        self.fusion = LayerFusion(layers, in_channels, channels, norm_cfg)
        self.convs = nn.Sequential()
        for width, kernel, dilation in convs:
            options = {"padding": dilation * (kernel // 2), "dilation": dilation}
            self.convs.append(ConvModule(channels, width, kernel, norm_cfg=norm_cfg, **options))
            channels = width
        self.output = nn.Conv2d(channels, out_channels, 1)
        self.init_weights()

    def init_weights(self) -> None:
        """Initialise after Kaiming; the output is small, so that scores start near the logits'."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                kaiming_init(layer, mode="fan_in")
        normal_init(self.output, std=0.01)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """`(N, D, h, w)` of each layer, in their order, to `(N, E, h', w')`.

        Raises:
            ValueError: an output is of another shape than stated.
        """
        return self.output(self.convs(self.fusion(maps)))


def build_learned_head(model: OODEncoderDecoder, settings: dict[str, Any]) -> nn.Module:
    """The learned head of a config.

    Raises:
        ValueError: a layer does not exist.
    """
    head = MODELS.build(settings)
    require_layers(network_of(model), head.layers)
    return head


def layers_read(model: OODEncoderDecoder) -> tuple[str, ...]:
    """Names of the layers that learned head, decode head and score read."""
    found = (
        getattr(model.learned_head, "layers", ()),
        getattr(model.decode_head, "read_layers", ()),
        getattr(model.energy_head.score, "layers", ()),
    )
    return tuple(name for names in found for name in names)


@contextlib.contextmanager
def reading_layers(model: OODEncoderDecoder) -> Iterator[Callable[[Tensor], Tensor]]:
    """Context manager: read layers in a forward pass inside it.

    Args:
        model: in which the forward pass runs. With an anomaly branch it is that of the frozen
            segmentor, which has no learned head.

    Yields:
        A function from logits `(N, C', h, w)` of that forward pass to the same followed by the
        channels of the learned head, `(N, C' + E, h, w)`; without such a head it returns them.
    """
    head = model.learned_head
    if head is None or model.anomaly_branch is not None:  # of the frozen segmentor itself
        yield lambda logits: logits
        return

    def with_channels(logits: Tensor) -> Tensor:
        channels = resize(
            head([features[name] for name in head.layers]),
            size=logits.shape[-2:],
            mode="bilinear",
            align_corners=model.align_corners,
            warning=False,
        )
        return torch.cat([logits, channels.to(logits)], dim=1)

    with network_of(model).recording(head.layers) as features:
        yield with_channels


def without_learned_head(model: OODEncoderDecoder) -> OODEncoderDecoder:
    """The model that gives the logits alone; its modules are those of the model."""
    plain = without_part(model, "learned_head")
    plain.out_channels = model.decode_head.out_channels
    return plain
