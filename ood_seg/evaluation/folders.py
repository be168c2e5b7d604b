"""Folders of saved score maps and ground truth, and their calibration.

folders = MapFolders(Path("maps"), Path("masks"))
calibrate_folders(folders, score="Energy").save("calibration.json")
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ood_seg.calibration import Calibration, calibrate, with_false_alarms
from ood_seg.calibration.curves import chosen_method
from ood_seg.datasets.label_maps import EVALUATION_LABELS
from ood_seg.evaluation.image_tasks import for_each
from ood_seg.evaluation.matching import MapPair, Matches, match_maps
from ood_seg.evaluation.saved_maps import SCALE_FILE, MapFormat, MapReader, read_scale_file
from ood_seg.io.map_origins import ORIGIN_FILE, MapOrigin, read_origin
from ood_seg.io.provenance import file_sha256
from ood_seg.labels import MIN_AREA
from ood_seg.metrics import ScoreHistogram

# Called with the number of maps read so far, and of all that will be read.
OnImage = Callable[[int, int], object]


@dataclass(frozen=True)
class MapFolders:
    """Score maps and their ground truth, and how their files are read and paired.

    Attributes:
        scores: folder of score maps (.npy, .npz, TIFF, PNG, EXR), or one file.
        ground_truth: folder of label images (.png), or one file.
        format: of the score maps; without a scale, that of `scale.json` in `scores` if there.
        label_map: value in the ground truth -> 0 known, 1 anomaly, 255 ignored.
        strip: regular expressions removed from the file names before they are paired.
        truth_suffix: end of the ground truth files, where their folder holds other images too.
        allow_missing: leave out what has no partner, with a note, instead of an error.
    """

    scores: Path
    ground_truth: Path
    format: MapFormat = field(default_factory=MapFormat)
    label_map: Mapping[int, int] = field(default_factory=lambda: dict(EVALUATION_LABELS))
    strip: Sequence[str] = ()
    truth_suffix: str = ".png"
    allow_missing: bool = False

    def reader(self) -> MapReader:
        """Reader of the maps; raises ValueError for a wrong `scale.json` or label map."""
        sidecar, format = self.scores / SCALE_FILE, self.format
        if format.scale is None and sidecar.is_file():
            format = replace(format, **read_scale_file(sidecar))
        return MapReader(format, self.label_map)

    def origin(self) -> MapOrigin | None:
        """The model of the maps; None where no sidecar records it, ValueError for a damaged one."""
        return read_origin(self.scores if self.scores.is_dir() else self.scores.parent)

    def matches(self) -> Matches:
        """The pairs of files; raises as `match_maps`."""
        return match_maps(
            self.scores,
            self.ground_truth,
            strip=self.strip,
            truth_suffix=self.truth_suffix,
            allow_missing=self.allow_missing,
        )


def calibrate_folders(
    folders: MapFolders,
    *,
    score: str | None = None,
    checkpoint: Path | None = None,
    allow_other_model: bool = False,
    min_area: int = MIN_AREA,
    workers: int = 1,
    on_image: OnImage = lambda done, total: None,
    method: str | None = None,
    **options: Any,
) -> Calibration:
    """Fit the anomaly probability and operating points on all score maps of a folder.

    Warns about what is left out. The maps are read twice, the second time for false alarms.

    Args:
        folders: maps and ground truth.
        score: type of the score in the model's config; None: that of the sidecar of the maps.
        checkpoint: file of the model, whose hash is kept; None: that of the sidecar, if any.
        allow_other_model: accept maps whose sidecar names another score or checkpoint.
        min_area: smallest false alarm that counts, in pixels.
        workers: threads that read and count.
        on_image: called after each map with the number read so far and in all.
        method: curve of the probability, see `chosen_method`.
        **options: further arguments of `calibrate`; `data_set` is by default the name of the
            folder of the ground truth, `model` that of the checkpoint.

    Raises:
        FileNotFoundError: a folder or the checkpoint does not exist.
        ValueError: as `MapFolders.matches`, `MapReader.read` and `calibrate`; no score is given or
            recorded, or the maps are of another score or model than those given.
    """
    if checkpoint is not None and not checkpoint.is_file():
        raise FileNotFoundError(f"checkpoint {checkpoint} does not exist")
    origin = _origin(folders, score, checkpoint, allow_other_model=allow_other_model)
    if origin.checkpoint_sha256 is None:
        warnings.warn(
            f"the model is not recorded, since {folders.scores} has no {ORIGIN_FILE} (which "
            "`ood-seg test --out` writes) and no checkpoint was given: with another model this "
            "calibration would pass unnoticed",
            stacklevel=2,
        )
    reader, matches = folders.reader(), folders.matches()
    count = counter(on_image, 2 * len(matches.pairs))

    def read(pair: MapPair) -> tuple[np.ndarray, np.ndarray]:
        maps = reader.read(pair.scores, pair.truth)
        count()
        return maps

    def counted(pair: MapPair) -> ScoreHistogram:
        return ScoreHistogram.from_scores(*read(pair))

    histograms = list(for_each(counted, matches.pairs, workers=workers))
    calibration = calibrate(
        histograms,
        score=origin.score,
        method=chosen_method(method, histograms),
        checkpoint_sha256=origin.checkpoint_sha256,
        **{
            "data_set": folders.ground_truth.resolve().name,
            "model": origin.model,
            **{name: value for name, value in options.items() if value is not None},
        },
    )
    for note in matches.notes:
        warnings.warn(note, stacklevel=2)
    maps = for_each(read, matches.pairs, workers=workers)
    return with_false_alarms(calibration, maps, min_area=min_area)


def _origin(
    folders: MapFolders, score: str | None, checkpoint: Path | None, *, allow_other_model: bool
) -> MapOrigin:
    """Score and model of the maps: as given, else as their sidecar records them.

    Raises:
        ValueError: the two differ, or no score is known.
    """
    recorded = folders.origin()
    given = checkpoint and MapOrigin(
        score or "", str(checkpoint), file_sha256(checkpoint), config=None
    )
    if recorded is None:
        if score is None:
            raise ValueError(
                f"{folders.scores} has no {ORIGIN_FILE} that names the score of the maps; give it: "
                "--score Energy"
            )
        return given or MapOrigin(score)
    remedy = "calibrate the maps of that model, or accept these with --allow-other-model"
    if score is not None and score != recorded.score and not allow_other_model:
        raise ValueError(
            f"{folders.scores} holds maps of the score {recorded.score!r} ({recorded.named()}), "
            f"but the score given is {score!r}; {remedy}"
        )
    if given and recorded.is_other(given.checkpoint_sha256) and not allow_other_model:
        raise ValueError(
            f"{folders.scores} holds maps of the model {recorded.named()}, but the checkpoint "
            f"given is {given.named()}; {remedy}"
        )
    return replace(given or recorded, score=score or recorded.score)


def counter(on_image: OnImage, total: int) -> Callable[[], object]:
    """A function that calls `on_image` with how often it has been called itself, and `total`."""
    count = itertools.count(1)
    return lambda: on_image(next(count), total)
