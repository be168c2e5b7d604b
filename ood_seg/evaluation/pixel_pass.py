"""First reading of the maps: a histogram for each image, and where anomalous pixels rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ood_seg.evaluation.image_tasks import for_each
from ood_seg.evaluation.matching import MapPair
from ood_seg.evaluation.partial_results import PartialResults
from ood_seg.evaluation.saved_maps import MapReader
from ood_seg.metrics.histogram import ScoreHistogram, count_bins
from ood_seg.metrics.pixel import MODES, PixelMetrics, SplitScores, split_scores
from ood_seg.metrics.ranking import RankCounts

BITS = 20


@dataclass(frozen=True)
class PixelPass:
    """What the first reading gives.

    Attributes:
        histograms: of each image, by name.
        counts: what metrics and curves of all images are computed from.
        mode: 'exact' or 'streaming', the one that was used.
        reused: images whose histogram an earlier run had left.
    """

    histograms: dict[str, ScoreHistogram]
    counts: RankCounts
    mode: str
    reused: int


def read_pixels(
    pairs: Sequence[MapPair],
    reader: MapReader,
    stored: PartialResults,
    *,
    mode: str = "auto",
    memory: int = 2 * 2**30,
    workers: int = 1,
    on_image: Callable[[], object] = lambda: None,
) -> PixelPass:
    """Read what is not stored yet.

    'streaming' ranks by the histograms, whose bins hold scores within 0.05 % of each other; no
    image is read twice, also not by a later run. 'exact' needs the scores themselves, so that it
    reads again the images whose histograms were stored. 'auto' is exact as long as all valid
    scores together take at most `memory` bytes. The result depends on neither what was stored nor
    `workers`.

    Raises:
        ValueError: there is no image, an unknown mode, or as `MapReader.read`, for all bad files.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if not pairs:
        raise ValueError("there is no image to evaluate")
    histograms: dict[str, ScoreHistogram] = {}
    splits: dict[str, SplitScores] = {}
    size, reused = 0, 0

    def fits() -> bool:
        return mode == "exact" or (mode == "auto" and size <= memory)

    def measure(pair: MapPair) -> tuple[MapPair, dict, SplitScores | None]:
        files = (pair.scores, pair.truth)
        arrays = stored.load(pair.name, files)
        if arrays is not None:
            return pair, arrays, None
        split = _read_split(pair, reader)
        histogram = histogram_of(split)
        arrays = {**histogram.to_arrays(), "itemsize": np.int64(split.known.itemsize)}
        stored.save(pair.name, files, arrays)
        return pair, arrays, split

    for pair, arrays, split in for_each(measure, pairs, workers=workers):
        histogram = ScoreHistogram.from_arrays(arrays)
        histograms[pair.name] = histogram
        size += int(arrays["itemsize"]) * (histogram.num_known + histogram.num_anomalous)
        reused += split is None
        if split is not None and fits():
            splits[pair.name] = split
        elif not fits():
            splits.clear()
        on_image()
    if not fits():
        merged = ScoreHistogram.merged(histograms.values())
        return PixelPass(histograms, merged.rank_counts(), "streaming", reused)
    missing = [pair for pair in pairs if pair.name not in splits]
    again = for_each(lambda pair: _read_split(pair, reader), missing, workers=workers)
    splits.update(zip([pair.name for pair in missing], again, strict=True))
    collected = PixelMetrics("exact")
    for pair in pairs:
        collected.add(splits.pop(pair.name))
    return PixelPass(histograms, collected.rank_counts(), "exact", reused)


def histogram_of(split: SplitScores) -> ScoreHistogram:
    """Histogram of scores that are already apart by class."""
    parts = []
    for label, scores in enumerate((split.known, split.anomalous)):
        bins, counts = count_bins(scores, BITS)
        both = [counts, np.zeros_like(counts)]
        parts.append(ScoreHistogram(bins, both[label], both[1 - label], BITS))
    merged = ScoreHistogram.merged(parts)
    return ScoreHistogram(merged.bins, merged.known, merged.anomalous, BITS, split.num_ignored)


def _read_split(pair: MapPair, reader: MapReader) -> SplitScores:
    return split_scores(*reader.read(pair.scores, pair.truth))
