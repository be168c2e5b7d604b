"""Saved score maps that are refined as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ood_seg.datasets.label_images import decode_label_image
from ood_seg.evaluation.matching import image_name, named_files, named_images, one_each
from ood_seg.evaluation.saved_maps import MapReader
from ood_seg.io.images import read_image
from ood_seg.refinement import Evidence, Refinement


@dataclass(frozen=True)
class RefinedMapReader(MapReader):
    """A `MapReader` whose scores are refined; its fields are JSON values.

    Args:
        refinement: steps as `Refinement.record` gives them.
        images: folder of the images; None: no step needs them.
        predicted_labels: folder of the predicted classes (`.png`); None: no step needs them.
        strip: as for `match_maps`.
    """

    refinement: Sequence[Mapping[str, Any]] = ()
    images: str | None = None
    predicted_labels: str | None = None
    strip: Sequence[str] = ()

    @cached_property
    def refined_by(self) -> Refinement:
        """The refinement, with its sources open."""
        return Refinement.of(list(self.refinement)).open()

    def read(self, scores: Path, truth: Path) -> tuple[np.ndarray, np.ndarray]:
        """As `MapReader.read`, with refined scores, float32.

        Raises:
            ValueError: also where the image has no file, or its evidence does not fit.
        """
        score_map, labels = super().read(scores, truth)
        name = image_name(scores.stem, self.strip)
        evidence = Evidence(self._image(name), self._predicted(name), name)
        return self.refined_by(score_map, evidence), labels

    @cached_property
    def _image_files(self) -> dict[str, list[Path]]:
        """Listed once: a folder may hold thousands."""
        return named_images(Path(str(self.images)), self.strip)

    @cached_property
    def _label_files(self) -> dict[str, list[Path]]:
        return named_files(Path(str(self.predicted_labels)), (".png",), self.strip)

    def _image(self, name: str) -> np.ndarray | None:
        if self.images is None or "image" not in self.refined_by.needs:
            return None
        return read_image(_only(self._image_files, name, self.images, "image"), grey_ok=True)

    def _predicted(self, name: str) -> np.ndarray | None:
        if self.predicted_labels is None or "labels" not in self.refined_by.needs:
            return None
        path = _only(self._label_files, name, self.predicted_labels, "label map")
        return decode_label_image(path.read_bytes(), path)


def refined_reader(
    reader: MapReader,
    refine: Any,
    images: Path | None,
    predicted_labels: Path | None,
    *,
    strip: Sequence[str] = (),
) -> RefinedMapReader:
    """The reader of the same maps, refined; `refine` as for `Refinement.of`."""
    return RefinedMapReader(
        reader.format,
        reader.label_map,
        Refinement.of(refine).open().record(),
        None if images is None else str(images),
        None if predicted_labels is None else str(predicted_labels),
        tuple(strip),
    )


def reader_of(record: Mapping[str, Any]) -> MapReader:
    """The reader that stands under `reader` in `evaluation.json`, refined or not."""
    kind = RefinedMapReader if record.get("refinement") else MapReader
    return kind.from_record(record)


def _only(files: dict[str, list[Path]], name: str, folder: str, what: str) -> Path:
    found = one_each(Path(folder), files, [name])
    if name not in found:
        raise ValueError(f"{folder}: no {what} for the score map of {name}")
    return found[name]
