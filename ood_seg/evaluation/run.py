"""Evaluation of saved score maps, from files to the content of `evaluation.json`.

pairs -> read_pixels  -> a histogram per image, ranks of all -> metrics, curves, intervals
                      -> images to select on -> calibration, thresholds
      -> read_regions -> components, false alarms, confusions -> on the images to report on

Maps that fit into memory (`KeptMaps`) are decoded for the first of these passes alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ood_seg import __version__
from ood_seg.calibration import Calibration
from ood_seg.evaluation import summary
from ood_seg.evaluation.image_tasks import for_each, warnings_as_notes
from ood_seg.evaluation.kept_maps import KeptMaps
from ood_seg.evaluation.matching import MapPair
from ood_seg.evaluation.partial_results import PartialResults
from ood_seg.evaluation.pixel_pass import PixelPass, read_pixels
from ood_seg.evaluation.region_pass import ImageRegions, read_regions
from ood_seg.evaluation.saved_maps import MapReader
from ood_seg.evaluation.selection import Selection, select
from ood_seg.evaluation.settings import Settings
from ood_seg.metrics.bootstrap import bootstrap_metrics, compare_methods
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.protocols import get_protocol

SCHEMA = "ood_seg.evaluation/1"


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluate_maps`.

    Attributes:
        content: of `evaluation.json`.
        histograms: of each image, by name.
        calibration: fitted on the images to select on; None where there is none.
        reused: images whose stored histograms were used.
    """

    content: dict[str, Any]
    histograms: dict[str, ScoreHistogram]
    calibration: Calibration | None
    reused: int


def evaluate_maps(
    pairs: Sequence[MapPair],
    reader: MapReader,
    settings: Settings,
    *,
    folder: Path | None = None,
    class_files: Mapping[str, tuple[Path, Path]] | None = None,
    images: Mapping[str, Path] | None = None,
    workers: int = 1,
    on_image: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Evaluate saved score maps.

    Args:
        pairs: score map and ground truth of each image.
        reader: of these files.
        settings: what to compute.
        folder: of partial results, from which a later run resumes; None keeps none.
        class_files: predicted and true training labels by image, for the closed set.
        images: image files by name, for overlays in the report.
        workers: threads that read and count.
        on_image: called after each image of each of the two passes.

    Raises:
        ValueError: there is no image, or as `MapReader.read`, for all bad files together.
    """
    reading: dict[str, Any] = {"workers": workers, "on_image": on_image}
    with warnings_as_notes() as notes:
        stored = _stored_histograms(folder, reader)
        # Streaming is for what does not fit into memory.
        maps = KeptMaps(reader, 0 if settings.mode == "streaming" else settings.memory)
        pixels = read_pixels(
            pairs, maps, stored, mode=settings.mode, memory=settings.memory, **reading
        )
        merged = ScoreHistogram.merged(pixels.histograms.values())
        content = _header(settings, reader, pixels, merged)
        content.update(_pixel_content(pairs, maps, settings, pixels, workers))
        selection = select(
            settings,
            pixels.histograms,
            content["best_f1_threshold"],
            closed_set=bool(class_files),
        )
        regions = read_regions(
            pairs,
            maps,
            selection.plan,
            folder and folder / "regions",
            class_files=class_files,
            **reading,
        )
        content.update(_region_content(settings, pixels, selection, regions))
        content["images"] = _rows(pairs, pixels, images or {})
    hints = summary.hints(merged, content["metrics"]["auroc"]["value"])
    content["notes"] = _without_repeats(hints, notes)
    return Evaluation(content, pixels.histograms, selection.calibration, pixels.reused)


def _without_repeats(hints: list[str], notes: list[str]) -> list[str]:
    """Hints and notes, without notes of a protocol that repeat a hint in other words."""
    begun = tuple(hint.split(":")[0].split(",")[0] for hint in hints)
    return list(dict.fromkeys([*hints, *(note for note in notes if not note.startswith(begun))]))


def _stored_histograms(folder: Path | None, reader: MapReader) -> PartialResults:
    return PartialResults(folder and folder / "pixels", {"reader": asdict(reader)})


def _header(
    settings: Settings, reader: MapReader, pixels: PixelPass, merged: ScoreHistogram
) -> dict[str, Any]:
    protocol = get_protocol(settings.protocol)
    return {
        "schema": SCHEMA,
        "method": settings.method,
        "data_set": settings.data_set,
        "num_images": len(pixels.histograms),
        "pixels": summary.pixel_counts(merged),
        "protocol": {"name": protocol.name, "description": protocol.description},
        "mode": pixels.mode,
        "reader": asdict(reader),
        "seed": settings.seed,
        "version": __version__,
        "commit": settings.commit,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "histogram": summary.display_histogram(merged),
    }


def _pixel_content(
    pairs: Sequence[MapPair],
    reader: KeptMaps,
    settings: Settings,
    pixels: PixelPass,
    workers: int,
) -> dict[str, Any]:
    """Metrics by the protocol; intervals are those of pooled metrics, so others have none."""
    values, intervals = {}, None
    if settings.protocol != "pooled":
        maps = for_each(lambda pair: reader.read(pair.scores, pair.truth), pairs, workers=workers)
        values = get_protocol(settings.protocol).evaluate(maps)
        warnings.warn(
            f"AUROC, AP and FPR95 are those of the protocol {settings.protocol}, from all scores; "
            "best F1, curves and other metrics pool all pixels",
            stacklevel=2,
        )
        if values.get("num_left_out"):
            warnings.warn(
                f"protocol {settings.protocol}: {values['num_left_out']:.0f} images that hold one "
                "class only are left out",
                stacklevel=2,
            )
    elif settings.samples:
        intervals = bootstrap_metrics(
            list(pixels.histograms.values()),
            samples=settings.samples,
            level=settings.level,
            seed=settings.seed,
        )
    return summary.pixel_section(
        pixels.counts,
        {name: values[name] for name in ("auroc", "ap", "fpr95") if name in values},
        intervals,
        streaming=pixels.mode == "streaming",
        tprs=sorted({0.95, *settings.tprs}),
    )


def _region_content(
    settings: Settings,
    pixels: PixelPass,
    selection: Selection,
    regions: Mapping[str, ImageRegions],
) -> dict[str, Any]:
    """Results on the images to report on, of what was selected on the others."""
    parts, calibration, plan = selection
    reported = [regions[name] for name in parts.report if name in regions]
    content: dict[str, Any] = {"calibration": None, "components": None, "closed_set": None}
    if calibration is not None:
        histograms = [pixels.histograms[name] for name in parts.report]
        content["calibration"] = summary.calibration_section(calibration, histograms, reported)
    if plan.track is not None and plan.component_threshold is not None:
        counted = reported if settings.threshold_on == "select" else list(regions.values())
        content["components"] = summary.component_section(
            counted, threshold=plan.component_threshold, track=plan.track
        )
        content["components"]["num_images"] = len(counted)
    if plan.rejection_threshold is not None:
        content["closed_set"] = summary.closed_set_section(
            reported, threshold=plan.rejection_threshold
        )
    return content


def _rows(
    pairs: Sequence[MapPair], pixels: PixelPass, images: Mapping[str, Path]
) -> list[dict[str, Any]]:
    """The table by image, with its files."""
    rows = summary.image_rows(pixels.histograms)
    for row, pair in zip(rows, pairs, strict=True):
        row["scores"], row["ground_truth"] = str(pair.scores), str(pair.truth)
        row["image"] = str(images[pair.name]) if pair.name in images else None
    return rows


def comparison(first: Evaluation, second: Evaluation, settings: Settings) -> dict[str, Any]:
    """A section of `comparisons`: another method on the same images, by paired bootstrap.

    Args:
        first: of the method that it is compared with.
        second: of the other method.
        settings: samples, level and seed; without samples there are differences alone.

    Raises:
        ValueError: the images or their ground truth differ.
    """
    with warnings_as_notes() as notes:
        compared = compare_methods(
            first.histograms,
            second.histograms,
            samples=max(settings.samples, 1),
            level=settings.level,
            seed=settings.seed,
        )
    second.content["notes"] += [note for note in notes if note not in second.content["notes"]]
    section = summary.comparison_section(second.content["method"], compared)
    if not settings.samples:
        section["samples"] = 0
        for part in section["metrics"].values():
            part.update(interval=[float("nan")] * 2, p_value=float("nan"))
    return section
