"""Folders of saved score maps and ground truth, evaluated and calibrated as a whole.

folders = MapFolders(Path("maps"), Path("masks"))
evaluate_folders(folders, Settings(method="Energy")).content["metrics"]["ap"]["value"]
calibrate_folders(folders, score="Energy").save("calibration.json")
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ood_seg.calibration import Calibration, calibrate, with_false_alarms
from ood_seg.datasets.label_maps import EVALUATION_LABELS
from ood_seg.datasets.listing import shorten
from ood_seg.evaluation.image_tasks import for_each
from ood_seg.evaluation.matching import MapPair, Matches, match_images, match_maps, match_others
from ood_seg.evaluation.refined_maps import RefinedMapReader
from ood_seg.evaluation.run import Evaluation, compare_with, evaluate_maps
from ood_seg.evaluation.saved_maps import SCALE_FILE, MapFormat, MapReader, read_scale_file
from ood_seg.evaluation.settings import Settings
from ood_seg.io.map_origins import ORIGIN_FILE, MapOrigin, read_origin
from ood_seg.io.provenance import file_sha256
from ood_seg.labels import MIN_AREA
from ood_seg.metrics import ScoreHistogram
from ood_seg.refinement import Refinement

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


def evaluate_folders(
    folders: MapFolders,
    settings: Settings,
    *,
    partial: Path | None = None,
    images: Path | None = None,
    compare: Path | None = None,
    compare_method: str | None = None,
    predicted_labels: Path | None = None,
    known_labels: Path | None = None,
    refine: Any = None,
    workers: int = 1,
    on_image: OnImage = lambda done, total: None,
) -> Evaluation:
    """Evaluate all score maps of a folder.

    Args:
        folders: maps and ground truth.
        settings: what to compute.
        partial: folder of partial results, from which a later run resumes; None keeps none.
        images: folder of the images, for overlays in the report.
        compare: folder of score maps of another method, for the section `comparison`.
        compare_method: its name; None: that of the folder.
        predicted_labels, known_labels: folders of predicted and of true training labels (.png),
            both or none, for the closed set; those predicted alone for a refinement.
        refine: refinement of the maps, see `refinement.Refinement.of`, but not of those of
            `compare`. Its evidence may change, so that no partial results are kept.
        workers: threads that read and count.
        on_image: called after each map with the number read so far and in all.

    Raises:
        FileNotFoundError: a folder does not exist.
        ValueError: files without a partner, bad files (all of them are named), a scale or label
            map out of range, or only one folder of class labels.
    """
    reader, matches, origin = folders.reader(), folders.matches(), folders.origin()
    names = [pair.name for pair in matches.pairs]
    if refine is not None:
        reader = _refined(folders, reader, refine, images, predicted_labels)
        origin = _refined_origin(origin, reader.refined_by)
        partial = None
    of_classes = predicted_labels if refine is None or known_labels else None
    classes, notes = _class_files(folders, names, of_classes, known_labels)
    readings = 1 + bool(settings.calibration or settings.track or classes) + bool(compare)
    count = _counter(on_image, readings * len(names))
    reading: dict[str, Any] = {"workers": workers, "on_image": count}
    evaluation = evaluate_maps(
        matches.pairs,
        reader,
        settings,
        folder=partial,
        class_files=classes,
        images=match_images(images, names, strip=folders.strip) if images else None,
        **reading,
    )
    if compare:
        others = replace(folders, scores=compare)
        evaluation.content["comparison"] = compare_with(
            evaluation,
            others.matches().pairs,
            others.reader(),
            settings,
            name=compare_method or compare.resolve().name,
            folder=partial and partial.with_name(f"{partial.name}-compare"),
            **reading,
        )
    evaluation.content["origin"] = asdict(origin) if origin else None
    evaluation.content["notes"] += [*matches.notes, *notes]
    return evaluation


def calibrate_folders(
    folders: MapFolders,
    *,
    score: str | None = None,
    checkpoint: Path | None = None,
    allow_other_model: bool = False,
    min_area: int = MIN_AREA,
    workers: int = 1,
    on_image: OnImage = lambda done, total: None,
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
        **options: further arguments of `calibrate`; `data_set` is by default the name of the
            folder of the ground truth, `model` that of the checkpoint.

    Raises:
        FileNotFoundError: a folder or the checkpoint does not exist.
        ValueError: as `evaluate_folders` and `calibrate`; no score is given or recorded, or the
            maps are of another score or model than those given.
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
    count = _counter(on_image, 2 * len(matches.pairs))

    def read(pair: MapPair) -> tuple[np.ndarray, np.ndarray]:
        maps = reader.read(pair.scores, pair.truth)
        count()
        return maps

    def counted(pair: MapPair) -> ScoreHistogram:
        return ScoreHistogram.from_scores(*read(pair))

    calibration = calibrate(
        list(for_each(counted, matches.pairs, workers=workers)),
        score=origin.score,
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


def _refined(
    folders: MapFolders, reader: MapReader, refine: Any, images: Path | None, labels: Path | None
) -> RefinedMapReader:
    refinement = Refinement.of(refine).open()
    return RefinedMapReader(
        reader.format,
        reader.label_map,
        refinement.record(),
        None if images is None else str(images),
        None if labels is None else str(labels),
        tuple(folders.strip),
    )


def _refined_origin(origin: MapOrigin | None, refinement: Refinement) -> MapOrigin | None:
    if origin is None:
        return None
    steps = [*(origin.refinement or ()), *refinement.record()]
    return replace(origin, score=refinement.score_name(origin.score), refinement=steps)


def _counter(on_image: OnImage, total: int) -> Callable[[], object]:
    """Function that calls `on_image` with how often it has been called itself, and `total`."""
    count = itertools.count(1)
    return lambda: on_image(next(count), total)


def _class_files(
    folders: MapFolders, names: Sequence[str], predicted: Path | None, known: Path | None
) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Predicted and true class labels of the images, and notes on images without them."""
    if predicted is None and known is None:
        return {}, []
    if predicted is None or known is None:
        raise ValueError(
            "the closed set needs both predicted_labels and known_labels, got only "
            f"{predicted or known}"
        )
    found, notes = [], []
    for folder in (predicted, known):
        files = match_others(folder, names, strip=folders.strip)
        missing = [name for name in names if name not in files]
        if missing and not folders.allow_missing:
            raise ValueError(
                f"{folder}: no label map for {len(missing)} images: {shorten(missing)}"
            )
        if missing:
            notes.append(f"left out of the closed set: {len(missing)} images")
        found.append(files)
    return {name: (found[0][name], found[1][name]) for name in found[0] if name in found[1]}, notes
