"""Anomaly datasets that are two plain folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mmseg.registry import DATASETS

from ood_seg.datasets.anomaly import AnomalyDataset
from ood_seg.datasets.label_maps import checked_label_map
from ood_seg.datasets.listing import DATASET_IMAGE_SUFFIXES, Listing, pair_by_stem


@DATASETS.register_module()
class AnomalyFolderDataset(AnomalyDataset):
    """Images in one folder, masks of the same stems in another; values declared in the config.

    Args:
        data_prefix: `img_path` and `seg_map_path`, both needed.
        label_map: raw mask value -> 0 known, 1 anomaly, 255 ignored; every value that occurs
            must be a key.
        img_suffix: ending of the images, or several.
        seg_map_suffix: what follows the stem in a mask's name, such as
            `_labels_semantic.png`.
        expected_count: number of pairs that there must be; None accepts any but zero.
        **kwargs: as in `AnomalyDataset`.

    Raises:
        ValueError: see `AnomalyDataset`; also a label map that is missing or maps elsewhere.
    """

    REMEDY = "Expected images and masks of the same stem in the two folders of data_prefix."

    def __init__(
        self,
        *,
        data_prefix: Mapping[str, str],
        label_map: Mapping[int, int],
        img_suffix: str | Sequence[str] = DATASET_IMAGE_SUFFIXES,
        seg_map_suffix: str = ".png",
        **kwargs,
    ) -> None:
        missing = [key for key in ("img_path", "seg_map_path") if not data_prefix.get(key)]
        if missing:
            raise ValueError(
                "data_prefix: expected dict(img_path=..., seg_map_path=...), "
                f"missing {', '.join(missing)}; got {dict(data_prefix)!r}"
            )
        super().__init__(
            data_prefix=data_prefix,
            label_map=checked_label_map(label_map),
            img_suffix=img_suffix,
            seg_map_suffix=seg_map_suffix,
            **kwargs,
        )

    def list_samples(self) -> Listing:
        """Pair the two folders by stem."""
        return pair_by_stem(
            Path(self.data_prefix["img_path"]),
            Path(self.data_prefix["seg_map_path"]),
            image_suffixes=self.img_suffix,
            mask_suffixes=self.seg_map_suffix,
        )
