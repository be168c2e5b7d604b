"""First pass over the maps: a histogram for each image, and the ranks of all pixels."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ood_seg.evaluation.image_tasks import for_each
from ood_seg.evaluation.kept_maps import KeptMaps
from ood_seg.evaluation.matching import MapPair
from ood_seg.evaluation.partial_results import PartialResults
from ood_seg.metrics.histogram import ScoreHistogram
from ood_seg.metrics.pixel import PixelMetrics, SplitScores, split_scores
from ood_seg.metrics.ranking import RankCounts


@dataclass(frozen=True)
class PixelPass:
    """Result of the first pass.

    Attributes:
        histograms: of each image, by name.
        counts: of all images, for metrics and curves.
        mode: 'exact' or 'streaming', the one that was used.
        reused: images whose histogram was stored by an earlier run.
    """

    histograms: dict[str, ScoreHistogram]
    counts: RankCounts
    mode: str
    reused: int


def read_pixels(
    pairs: Sequence[MapPair],
    reader: KeptMaps,
    stored: PartialResults,
    *,
    mode: str = "auto",
    memory: int = 2 * 2**30,
    workers: int = 1,
    on_image: Callable[[], object] = lambda: None,
) -> PixelPass:
    """Histogram of each image, and the ranks of all by `PixelMetrics` of `mode` and `memory`.

    Ranks need the scores themselves, so that images whose histograms were stored are read as well,
    after the others. The result depends neither on what was stored nor on `workers`.

    Raises:
        ValueError: there is no image, an unknown mode, or as `MapReader.read`, for all bad files.
    """
    collected = PixelMetrics(mode, memory=memory)
    histograms: dict[str, ScoreHistogram] = {}
    again: list[MapPair] = []
    wide = False

    def add(split: SplitScores) -> None:
        nonlocal wide
        wide |= split.known.dtype == np.float64
        collected.add(split)

    for pair, histogram, split in _histograms(pairs, reader, stored, workers=workers):
        histograms[pair.name] = histogram
        if split is None:
            again.append(pair)
        else:
            add(split)
        on_image()
    for split in for_each(lambda pair: _read_split(pair, reader), again, workers=workers):
        add(split)
    if wide and collected.mode_used == "streaming":
        warnings.warn(
            "streaming ranks float64 scores rounded to float32; the bounds are those of the "
            "rounded scores",
            stacklevel=2,
        )
    return PixelPass(histograms, collected.rank_counts(), collected.mode_used, len(again))


def _histograms(
    pairs: Sequence[MapPair], reader: KeptMaps, stored: PartialResults, *, workers: int = 1
) -> Iterator[tuple[MapPair, ScoreHistogram, SplitScores | None]]:
    """The histogram of each image, with its scores unless the histogram was stored.

    Raises:
        ValueError: there is no image, or as `MapReader.read`, for all bad files.
    """
    if not pairs:
        raise ValueError("there is no image to evaluate")

    def measure(pair: MapPair) -> tuple[MapPair, ScoreHistogram, SplitScores | None]:
        files = (pair.scores, pair.truth)
        arrays = stored.load(pair.name, files)
        if arrays is not None:
            return pair, ScoreHistogram.from_arrays(arrays), None
        split = _read_split(pair, reader)
        for scores in split[:2]:
            scores.sort()  # once, for the histogram and for the ranks
        histogram = ScoreHistogram.from_classes(*split)
        stored.save(pair.name, files, histogram.to_arrays())
        return pair, histogram, split

    yield from for_each(measure, pairs, workers=workers)


def _read_split(pair: MapPair, reader: KeptMaps) -> SplitScores:
    return split_scores(*reader.read(pair.scores, pair.truth))
