"""Where the scores of an image come from: one model, or files of anyone's method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from ood_seg.comparison.measuring import Cost
from ood_seg.datasets.listing import shorten
from ood_seg.evaluation.matching import image_name, match_others
from ood_seg.evaluation.saved_maps import (
    SCALE_FILE,
    SCORE_SUFFIXES,
    MapFormat,
    read_scale_file,
    read_scores,
)


class Scored(NamedTuple):
    """The scores of one image by one method, or why there are none.

    Attributes:
        name: of the method.
        scores: `(H, W)` at the image's size; None after a failure.
        cost: of the method's own work; of no seconds where that is not known.
        failure: what went wrong; empty otherwise.
    """

    name: str
    scores: np.ndarray | torch.Tensor | None
    cost: Cost = Cost(0.0, None)
    failure: str = ""


class Source(Protocol):
    """Gives the scores of several methods.

    Attributes:
        names: of the methods.
    """

    names: tuple[str, ...]

    def scores(
        self, batch: Mapping[str, Any], names: Sequence[str], *, memory: bool
    ) -> Iterator[Scored]:
        """Scores of one image.

        Args:
            batch: one sample of a data set, collated.
            names: the methods that are wanted.
            memory: whether to measure memory.
        """


class SavedMaps:
    """Score maps of one method on one data set, which belong to its images by name.

    Args:
        name: of the method.
        folder: of the maps, in any format of `ood_seg.evaluation.saved_maps`. A `scale.json` in
            it says what whole numbers mean.
        images: paths of all images.
        negate: low values mean anomalous.
        strip: regular expressions taken off the file names.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: images have no map, or two.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        images: Sequence[str],
        *,
        negate: bool = False,
        strip: Sequence[str] = (),
    ) -> None:
        self.names = (name,)
        self.folder = folder
        self.strip = strip
        wanted = [image_name(Path(image).stem, strip) for image in images]
        self.files = match_others(folder, wanted, suffixes=SCORE_SUFFIXES, strip=strip)
        missing = [one for one in wanted if one not in self.files]
        if missing:
            raise ValueError(
                f"{folder}: no score map for {len(missing)} of {len(wanted)} images: "
                f"{shorten(missing)}; files pair by name, --strip PATTERN takes more off the names"
            )
        side_car = folder / SCALE_FILE
        scaling = read_scale_file(side_car) if side_car.is_file() else {}
        self.format = MapFormat(negate=negate, **scaling)

    def scores(
        self, batch: Mapping[str, Any], names: Sequence[str], *, memory: bool
    ) -> Iterator[Scored]:
        """The map of the image, from its file."""
        (name,) = self.names
        path = self.files[image_name(Path(batch["data_samples"][0].img_path).stem, self.strip)]
        try:
            yield Scored(name, read_scores(path, self.format))
        except (ValueError, OSError) as error:
            yield Scored(name, None, failure=str(error))
