"""A source of scores with a second, refined row for each of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ood_seg.comparison.measuring import Cost
from ood_seg.comparison.sources import Identity, Scored, ScoreSource
from ood_seg.io.images import read_image
from ood_seg.refinement import Evidence, Refinement


class RefinedScores:
    """The scores of a source, and each of them refined.

    The cost of a refined row is that of the score and of the refinement.

    Args:
        source: of the scores.
        refinement: of each of them.
        network: an `OODEncoderDecoder` whose labels are the evidence; None: there are no labels.

    Attributes:
        names: those of the source, and the refined ones.
        identities: see `ScoreSource`; the files of the evidence are not among them.
    """

    def __init__(self, source: ScoreSource, refinement: Refinement, network: Any = None) -> None:
        self.source, self.refinement, self._network = source, refinement, network
        self._refined = {name: refinement.score_name(name) for name in source.names}
        self.names = (*source.names, *self._refined.values())
        steps = {"refinement": refinement.record()}
        self.identities: Mapping[str, Identity] = {
            **source.identities,
            **{
                self._refined[name]: Identity({**one.options, **steps}, one.files)
                for name, one in source.identities.items()
            },
        }

    def scores(
        self, batch: Mapping[str, Any], names: Sequence[str], *, memory: bool
    ) -> Iterator[Scored]:
        """See `ScoreSource.scores`."""
        wanted = [name for name in self.source.names if {name, self._refined[name]} & {*names}]
        evidence: Evidence | None = None
        for scored in self.source.scores(batch, wanted, memory=memory):
            if scored.name in names:
                yield scored
            name = self._refined[scored.name]
            if name not in names:
                continue
            if scored.scores is None:
                yield scored._replace(name=name)
                continue
            try:
                evidence = evidence or self._evidence(batch)  # shared, so not part of the cost
                start = time.perf_counter()
                maps = scored.scores
                values = maps.cpu().numpy() if isinstance(maps, torch.Tensor) else np.asarray(maps)
                refined = self.refinement(values, evidence)
            except (ValueError, OSError) as error:
                yield Scored(name, None, failure=str(error))
                continue
            seconds = scored.cost.seconds + time.perf_counter() - start
            yield Scored(name, refined, Cost(seconds, scored.cost.memory), file=scored.file)

    def _evidence(self, batch: Mapping[str, Any]) -> Evidence:
        path, needs, labels = batch["data_samples"][0].img_path, self.refinement.needs, None
        if "labels" in needs and self._network is not None:
            with torch.no_grad():
                (sample,) = self._network.test_step(dict(batch))
            labels = sample.pred_sem_seg.data[0].cpu().numpy()
        image = read_image(path, grey_ok=True) if "image" in needs else None
        return Evidence(image, labels, Path(path).with_suffix("").as_posix())
