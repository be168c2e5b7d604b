"""The published mix of an epoch: every clean scene once, and some pasted ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmseg.registry import DATASETS
from torch.utils.data import Dataset


@DATASETS.register_module()
class OutlierMix(Dataset):
    """All clean scenes, and `num_pasted` scenes with objects that are drawn at each access.

    Indices below `len(clean)` are the clean scenes. Each one above is a scene of `pasted`, drawn
    uniformly with numpy's global generator, and its pipeline draws the object. Inside
    `SeededSamples` the two kinds are shuffled together and a draw depends on the seed and the
    position in the stream alone, so every epoch has exactly as many samples of either kind, with
    other scenes and other objects:

    ```
    train_dataloader = dict(
        batch_size=8,
        sampler=dict(type='StreamSampler'),
        dataset=dict(
            type='SeededSamples',
            dataset=dict(type='OutlierMix', clean=dict(...), pasted=dict(...), num_pasted=297),
        ),
    )
    ```

    Source: the data of Meta-OoD and PEBAL (Tian et al., ECCV 2022, released code): 2975 clean
    Cityscapes scenes and 297 pasted ones an epoch.

    Args:
        clean: dataset, or its config, of clean scenes.
        pasted: dataset, or its config, whose pipeline pastes outliers; may be of any length.
        num_pasted: pasted scenes an epoch.

    Raises:
        ValueError: if `num_pasted` is negative, or the classes of the datasets differ.
    """

    def __init__(self, clean: dict | Dataset, pasted: dict | Dataset, num_pasted: int) -> None:
        if num_pasted < 0:
            raise ValueError(f"num_pasted must not be negative, got {num_pasted}")
        self.clean: Any
        self.pasted: Any
        self.clean, self.pasted = (
            DATASETS.build(part) if isinstance(part, dict) else part for part in (clean, pasted)
        )
        self.num_pasted = num_pasted
        classes = [part.metainfo.get("classes") for part in (self.clean, self.pasted)]
        if classes[0] != classes[1]:
            raise ValueError(f"clean and pasted must have the same classes, got {classes}")

    @property
    def metainfo(self) -> dict:
        """Meta information of the clean scenes."""
        return self.clean.metainfo

    def __len__(self) -> int:
        return len(self.clean) + self.num_pasted

    def __getitem__(self, index: int) -> dict:
        """Clean scene `index`, or a pasted one for each index beyond the clean scenes."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of a mix of {len(self)}")
        if index < len(self.clean):
            return self.clean[index]
        return self.pasted[np.random.randint(len(self.pasted))]
