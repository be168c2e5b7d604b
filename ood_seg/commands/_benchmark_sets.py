"""The data sets that `ood-seg benchmark` evaluates on: those of the config that have masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg.io.json_files import plain

if TYPE_CHECKING:
    from mmengine.config import Config

    from ood_seg.comparison.counts import ScoreCounts
    from ood_seg.comparison.sources import SavedMaps, Source

    Identity = tuple[Mapping[str, Any], Sequence[str | Path]]

_METRIC = "AnomalyMetric"


def anomaly_sets(cfg: Config, names: Sequence[str] | None) -> dict[str, tuple[dict, dict]]:
    """Loader and anomaly metric of each test set that has one.

    Args:
        cfg: the config.
        names: of the wanted sets; None: all.

    Raises:
        ValueError: a name is unknown or has no anomaly masks, or no set has.
    """
    from ood_seg.engine.test_sets import metrics_of, named_sets

    found = {}
    for name, (loader, evaluator) in named_sets(cfg).items():
        metric = [one for one in metrics_of(evaluator) if one["type"] == _METRIC]
        if metric:
            found[name] = (loader, metric[0])
    unknown = [name for name in names or () if name not in found]
    if unknown or not found:
        known = ", ".join(found) or "none"
        raise ValueError(
            f"no test set {', '.join(unknown)} with anomaly masks (an {_METRIC}) in the config; "
            f"there are: {known}"
        )
    return {name: found[name] for name in names or found}


class AnomalySet:
    """One data set with its masks.

    Args:
        name: of the set.
        place: configs of its loader and its metric.
        num_images: only the first ones; None: all.
    """

    def __init__(self, name: str, place: tuple[dict, dict], num_images: int | None) -> None:
        from mmseg.registry import DATASETS, METRICS

        self.name = name
        self.loader, metric = place
        self.dataset = DATASETS.build(self.loader["dataset"])
        # It is here to read labels, so that no other option counts.
        space = {key: metric[key] for key in ("label_space",) if key in metric}
        self.metric = METRICS.build({"type": _METRIC, **space})
        self.metric.dataset_meta = self.dataset.metainfo
        self.size = len(self.dataset) if num_images is None else min(num_images, len(self.dataset))

    def saved_maps(
        self, method: str, root: Path, options: Mapping[str, Any], *, alone: bool
    ) -> tuple[SavedMaps, dict[str, Identity]]:
        """A method's score maps of this set, in the folder of its name.

        Args:
            method: name of the method.
            root: folder that holds that folder, or the maps themselves where there is one set.
            options: of `SavedMaps`.
            alone: whether this is the only set.

        Raises:
            FileNotFoundError: no such folder.
            ValueError: images have no map, or two.
        """
        from ood_seg.comparison.sources import SavedMaps

        folder = root / self.name
        if alone and not folder.is_dir():
            folder = root
        images = [self.dataset.get_data_info(index)["img_path"] for index in range(self.size)]
        maps = SavedMaps(method, folder, images, **options)
        identity = {"maps": str(folder), **options}
        return maps, {method: (identity, sorted(maps.files.values()))}

    def run(
        self,
        entrants: Sequence[tuple[Source, Mapping[str, Identity]]],
        folder: Path,
    ) -> dict[str, Any]:
        """Score all images, with a progress bar.

        Args:
            entrants: sources, and what the results of each score depend on beside the data.
            folder: of partial results.

        Returns:
            What `benchmark.json` says of the set, with `failures` by score.
        """
        from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

        from ood_seg.comparison.contest import Contest
        from ood_seg.evaluation.image_tasks import warnings_as_notes

        identities = {name: one for _, some in entrants for name, one in some.items()}
        sources = [source for source, _ in entrants]
        shared = [source.shared for source in sources if hasattr(source, "shared")]
        for one in shared:
            one.update(dict.fromkeys(one, 0))
        store = _Store(folder, identities, self._data())
        contest = Contest(sources, self._labels, store=store)
        columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns) as progress:
            task = progress.add_task(self.name, total=self.size, completed=contest.start)
            for _ in contest.run(self._batches(contest.start)):
                progress.advance(task)
        described, notes = {}, []
        for name, counts in contest.counts.items():
            if name not in contest.failures:
                with warnings_as_notes() as hints:
                    described[name] = counts.described()
                notes += [f"{self.name}, {name}: {hint}" for hint in hints]
                pixels = counts.pixels()
        return {
            "images": self.size,
            "dataset": self.loader["dataset"].get("type"),
            "data_root": str(self.loader["dataset"].get("data_root")),
            "pixels": pixels if described else None,
            "shared": dict(shared[0]) if shared else None,
            "scores": described,
            "notes": notes,
            "failures": {name: f"{self.name}: {why}" for name, why in contest.failures.items()},
        }

    def _labels(self, batch: Mapping[str, Any]) -> Any:
        return self.metric.evaluation_labels(batch["data_samples"][0].gt_sem_seg.data[0])

    def _batches(self, start: int) -> Any:
        from mmengine.dataset import pseudo_collate
        from torch.utils.data import DataLoader, Subset

        return DataLoader(
            Subset(self.dataset, range(start, self.size)),
            num_workers=self.loader.get("num_workers", 0),
            collate_fn=pseudo_collate,
        )

    def _data(self) -> dict[str, Any]:
        dataset = plain({k: v for k, v in self.loader["dataset"].items() if k != "_scope_"})
        return {"data": dataset, "images": len(self.dataset)}


class _Store:
    """Counts on disk, valid for the same files and options only."""

    def __init__(
        self, folder: Path, identities: Mapping[str, Identity], data: Mapping[str, Any]
    ) -> None:
        from ood_seg import __version__
        from ood_seg.evaluation.partial_results import PartialResults

        self._parts = {
            name: (PartialResults(folder, {"ood_seg": __version__, **data, **options}), files)
            for name, (options, files) in identities.items()
        }

    def load(self, name: str) -> ScoreCounts | None:
        from ood_seg.comparison.counts import ScoreCounts

        parts, files = self._parts[name]
        state = parts.load(name, map(Path, files))
        return None if state is None else ScoreCounts.from_state(state)

    def save(self, name: str, counts: ScoreCounts) -> None:
        parts, files = self._parts[name]
        parts.save(name, map(Path, files), counts.state())
