"""What `peers.py` measures: one thing that ood_seg and a peer, or a reference, both compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CLASSES, CHANNELS = 19, 64
PEERS = {"pytorch_ood": "pytorch-ood", "torchmetrics": "torchmetrics", "sklearn": "scikit-learn"}


@dataclass(frozen=True)
class Case:
    """One thing that both sides compute.

    Attributes:
        name: of the thing.
        peer: what it is compared with.
        ours, theirs: compute it.
        agree: brings the peer's values to our definition; None: nothing is compared.
        remark: on definitions.
    """

    name: str
    peer: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    agree: Callable[[Any], Any] | None = lambda values: values
    remark: str = ""
