"""Sources of the scores of an image: a model, or the saved maps of any method."""

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
from ood_seg.io.map_origins import read_origin


class Scored(NamedTuple):
    """The scores of one image by one method, or the reason why there are none.

    Attributes:
        name: of the method.
        scores: `(H, W)` at the image's size; None after a failure.
        cost: of the method's own work; zero seconds if it is not known.
        failure: the reason; empty if there are scores.
        file: the scores were read from; None: they were computed.
    """

    name: str
    scores: np.ndarray | torch.Tensor | None
    cost: Cost = Cost(0.0, None)
    failure: str = ""
    file: Path | None = None


class Identity(NamedTuple):
    """What the results of a score depend on besides the data: options, and files."""

    options: Mapping[str, Any]
    files: Sequence[Path]


class ScoreSource(Protocol):
    """Computes or reads the scores of several methods.

    Attributes:
        names: of the methods.
        identities: of the methods, by name.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def identities(self) -> Mapping[str, Identity]: ...

    def scores(
        self, batch: Mapping[str, Any], names: Sequence[str], *, memory: bool
    ) -> Iterator[Scored]:
        """Scores of one image.

        Args:
            batch: one collated sample.
            names: the methods to compute.
            memory: whether to measure memory.
        """


class SavedMaps:
    """Score maps of one method on one dataset, paired with its images by name.

    Args:
        name: of the method.
        folder: of the maps, in any format of `ood_seg.evaluation.saved_maps`. A `scale.json` in
            it defines what integers mean.
        images: paths of all images.
        negate: low values mean anomalous.
        strip: regular expressions removed from the file names before they are paired.

    Attributes:
        origin: the model of the maps, from their `provenance.json`; None: it is not recorded.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: images have no map, or two, or a sidecar is damaged.
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
                f"{shorten(missing)}; files pair by name; --strip PATTERN removes parts of it"
            )
        sidecar = folder / SCALE_FILE
        scaling: dict[str, Any] = read_scale_file(sidecar) if sidecar.is_file() else {}
        self.format = MapFormat(negate=negate, **scaling)
        self.origin = read_origin(folder)
        options = {"maps": str(folder), "negate": negate, "strip": strip}
        self.identities = {name: Identity(options, sorted(self.files.values()))}

    def scores(
        self, batch: Mapping[str, Any], names: Sequence[str], *, memory: bool
    ) -> Iterator[Scored]:
        """The map of the image, from its file; ignored pixels may be NaN or infinite."""
        (name,) = self.names
        path = self.files[image_name(Path(batch["data_samples"][0].img_path).stem, self.strip)]
        try:
            yield Scored(name, read_scores(path, self.format, finite=False), file=path)
        except (ValueError, OSError) as error:
            yield Scored(name, None, failure=str(error))
