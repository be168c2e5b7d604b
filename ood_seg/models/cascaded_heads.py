"""The decode heads of mmseg's `CascadeEncoderDecoder` as one head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from mmseg.models.decode_heads import PointHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn


@MODELS.register_module()
class CascadedHeads(nn.ModuleList):
    """Decode heads of which each but the first also takes the logits of the one before.

    ```
    features -> 0 -> logits -> 1 -> logits ... -> last -> logits
        `------------------'------------------'
    ```

    Parameter names are those of `CascadeEncoderDecoder` (`decode_head.0.*`), so its checkpoints
    load strictly. Classes, labels and interpolation are those of the last head.

    Args:
        stages: configs of the decode heads, two or more.
        num_stages: None, or the number that the model's config states.

    Raises:
        ValueError: another number of heads than stated, fewer than two, or ones that ignore
            different labels.
    """

    def __init__(self, stages: Sequence[dict], num_stages: int | None = None) -> None:
        if num_stages not in (None, len(stages)):
            raise ValueError(
                f"model.num_stages is {num_stages}, but decode_head lists {len(stages)} heads"
            )
        if len(stages) < 2:
            raise ValueError(f"a cascade has at least 2 decode heads, got {len(stages)}")
        super().__init__(MODELS.build(stage) for stage in stages)
        ignored = [head.ignore_index for head in self]
        if len(set(ignored)) > 1:
            raise ValueError(f"all heads of a cascade need one ignore_index, got {ignored}")

    @property
    def last(self) -> Any:
        """The head that gives the logits of inference."""
        return self[-1]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.last.num_classes

    @property
    def out_channels(self) -> int:
        """Number of channels of the logits."""
        return self.last.out_channels

    @property
    def align_corners(self) -> bool:
        """As the logits are interpolated."""
        return self.last.align_corners

    @property
    def ignore_index(self) -> int:
        """Label of ignored pixels."""
        return self.last.ignore_index

    def forward(self, inputs: Sequence[Tensor]) -> Tensor | list[Tensor]:
        """In training the logits of all heads, else those of the last, `(N, C, h, w)`.

        Raises:
            ValueError: the last head classifies points and gives no map.
        """
        if isinstance(self.last, PointHead):
            raise ValueError(
                "PointHead classifies the uncertain points of a map that is refined in steps; "
                "only scores of logits can be computed for it, without export"
            )
        outputs = [*self._before_last(inputs)]
        outputs.append(self.last(inputs, outputs[-1]))
        return outputs if self.training else outputs[-1]

    def _before_last(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        outputs = [self[0](inputs)]
        for head in islice(self, 1, len(self) - 1):  # a slice would be a cascade of its own
            outputs.append(head(inputs, outputs[-1]))
        return outputs

    def predict(self, inputs: Sequence[Tensor], batch_img_metas: list[dict], test_cfg) -> Tensor:
        """Logits at the size of the network's input, as of mmseg's decode heads."""
        return self.last.predict(inputs, self._before_last(inputs)[-1], batch_img_metas, test_cfg)

    def loss_by_feat(
        self, seg_logits: Sequence[Tensor], batch_data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """The losses of all heads, by number and name (`0.loss_ce`)."""
        losses: dict[str, Tensor] = {}
        heads: list[Any] = list(self)
        for index, (head, logits) in enumerate(zip(heads, seg_logits, strict=True)):
            found = head.loss_by_feat(logits, batch_data_samples)
            losses |= {f"{index}.{name}": value for name, value in found.items()}
        return losses
