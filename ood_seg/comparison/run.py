"""`compare_scores`: scores of a model and saved score maps on the anomaly datasets of a config.

scores of the model ----> ModelScores -.
folders of score maps --> SavedMaps ---+-> ScoreComparison of one dataset -> ScoreCounts -> metrics
images and masks -------> AnomalySet --'
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from ood_seg import __version__
from ood_seg.comparison.anomaly_sets import AnomalySet, anomaly_sets
from ood_seg.comparison.counts import ScoreCounts
from ood_seg.comparison.image_sets import compare_image_sets, image_sets
from ood_seg.comparison.model_scores import ModelScores
from ood_seg.comparison.ready_made import ALL, check_name, ready_made
from ood_seg.comparison.refined_scores import RefinedScores
from ood_seg.comparison.score_comparison import ScoreComparison
from ood_seg.comparison.sources import SavedMaps, ScoreSource
from ood_seg.comparison.writing import SCHEMA, write_benchmark
from ood_seg.engine.runner import load_config, set_up_process
from ood_seg.engine.test_sets import is_image_level
from ood_seg.evaluation.image_tasks import warnings_as_notes
from ood_seg.evaluation.partial_results import PartialResults
from ood_seg.io.map_origins import MapOrigin
from ood_seg.io.provenance import git_commit, versions
from ood_seg.metrics.protocols import get_protocol
from ood_seg.models.loading import load_model
from ood_seg.progress import tracked
from ood_seg.refinement import Refinement


def compare_scores(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    scores: Sequence[str] | None = None,
    configs: Mapping[str, Mapping[str, Any]] | None = None,
    maps: Mapping[str, str | Path] | None = None,
    negate: Collection[str] = (),
    strip: Sequence[str] = (),
    statistics: str | Path | None = None,
    smoothing: tuple[int, float] | None = None,
    refine: Any = None,
    sets: Sequence[str] = (),
    num_images: int | None = None,
    title: str | None = None,
    folder: str | Path | None = None,
) -> dict[str, Any]:
    """Compare scores, as `ood-seg benchmark` does, and write `FOLDER/benchmark.*`.

    All scores that do not run the network themselves come from one forward pass per image. Counts
    are kept in `FOLDER/partial`, so that an interrupted comparison resumes; they are used again
    only for the same model, data and options. A score that fails is left out, with the reason.

    Args:
        config: path of a file, name of a shipped config, or a config.
        checkpoint: file; None: the config's `load_from`.
        scores: names of ready-made scores, or `all` for those that the model provides; None:
            `all`, or none if there are `configs` or `maps`.
        configs: configs of any registered scores, by name.
        maps: folders of score maps by the name of their method; each holds one folder for each
            dataset, or the maps themselves if there is one dataset.
        negate: names of the maps in which low values mean anomalous.
        strip: regular expressions removed from file names before maps and images are paired.
        statistics: file of `ood-seg fit`, for the scores that need it.
        smoothing: kernel size and sigma of a Gaussian, the last step of every score of the model.
        refine: refinement, see `refinement.Refinement.of`; every score gets a second row with its
            refined maps, named after the steps.
        sets: names of the test sets to compare on; empty: all with anomaly masks.
        num_images: use only the first images of each set; None: all.
        title: of the table; None: the name of the config.
        folder: of the results; None: the work dir.

    Returns:
        The content of `benchmark.json`: `scores` (configs by name), `maps` (the model of the maps
        by name, from their `provenance.json`; None if not recorded), `sets` (by name: metrics as
        fractions of 1 with bounds, curves, time and memory of each score), `failures` (reasons by
        name), `unavailable` (names of those of `all` scores that could not be built), and the
        provenance of the results.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: an unknown set, a bad name, no score at all, or a bad checkpoint.
    """
    if num_images is not None and num_images < 1:
        raise ValueError(f"num_images must be positive, got {num_images}")
    if scores is None:
        scores = () if configs or maps else (ALL,)
    cfg = load_config(config)
    image_level = is_image_level(cfg)
    if image_level and (maps or smoothing or refine is not None):
        raise ValueError(
            "maps, smoothing and refine are for score maps; this config is image-level"
        )
    ready, configs, maps = ready_made(scores, image_level=image_level), configs or {}, maps or {}
    _check_names([*ready, *configs, *maps], maps, negate)
    init_default_scope(cfg.get("default_scope") or "mmseg")
    datasets = [] if image_level else anomaly_sets(cfg, sets, num_images)
    images = image_sets(cfg, sets, num_images) if image_level else None
    refinement = None if refine is None else Refinement.of(refine).open()
    model = network = None
    if ready or configs:
        seed = set_up_process(cfg)
        network = load_model(cfg, checkpoint, plain_score=True)
        model = ModelScores(
            network,
            {**ready, **configs},
            statistics=statistics,
            smoothing=smoothing,
            seed=seed,
        )
    content = _header(cfg, model, maps, title, refinement)
    if ALL in scores:
        content["unavailable"] = sorted(content["failures"].keys() - {*scores, *configs})
    results = Path(folder or cfg.work_dir)
    for dataset in datasets:
        sources, failures = _saved_maps(
            dataset, maps, negate, strip, alone=len(datasets) == 1, origins=content["maps"]
        )
        sources += [model] if model else []
        if refinement is not None:
            labels = None if model is None else network
            sources = [RefinedScores(source, refinement, labels) for source in sources]
        _add_set(content, dataset, sources, failures, results / "partial" / dataset.name)
        content["sets"][dataset.name]["shared"] = model.take_costs() if model else None
    if images is not None and model is not None:
        content["sets"], failed = compare_image_sets(*images, model, results / "partial")
        content["failures"].update(failed)
    write_benchmark(content, results)
    return content


def _add_set(
    content: dict[str, Any],
    dataset: AnomalySet,
    sources: Sequence[ScoreSource],
    failures: Mapping[str, str],
    partial: Path,
) -> None:
    """Compare on one dataset; add its results, and its failures to those of earlier ones."""
    content["sets"][dataset.name], failed = _compare_on(dataset, sources, partial)
    for name, reason in {**failures, **failed}.items():
        earlier = content["failures"].get(name)
        reason = f"{dataset.name}: {reason}"
        content["failures"][name] = f"{earlier}; {reason}" if earlier else reason


def _check_names(names: Sequence[str], maps: Collection[str], negate: Collection[str]) -> None:
    for index, name in enumerate(names):
        if check_name(name) in names[:index]:
            raise ValueError(f"scores and maps: the name {name!r} is taken; choose another")
    for name in negate:
        if name not in maps:
            raise ValueError(f"negate: expected names of maps ({', '.join(maps)}), got {name!r}")


def _header(
    cfg: Config,
    model: ModelScores | None,
    maps: Collection[str],
    title: str | None,
    refinement: Refinement | None,
) -> dict[str, Any]:
    """The content before the first dataset."""
    protocol = get_protocol("pooled")
    return {
        "schema": SCHEMA,
        "title": title or Path(cfg.filename or "scores").stem,
        "config": str(cfg.filename),
        "model": model.facts if model else None,
        "scores": _with_refined(
            {**(model.configs if model else {}), **dict.fromkeys(maps)}, refinement
        ),
        "maps": {},
        "smoothing": model.smoothing_options if model else None,
        "refinement": None if refinement is None else refinement.record(),
        "protocol": {"name": protocol.name, "description": protocol.description},
        "mode": "streaming",
        "unit": "image" if is_image_level(cfg) else "pixel",
        "seed": model.seed if model else None,
        "commit": git_commit(),
        "versions": versions(),
        "sets": {},
        "unavailable": [],
        "failures": dict(model.failures) if model else {},
    }


def _with_refined(scores: Mapping[str, Any], refinement: Refinement | None) -> dict[str, Any]:
    """Configs by name, each followed by the refined row of the same config."""
    if refinement is None:
        return dict(scores)
    return {
        row: config
        for name, config in scores.items()
        for row in (name, refinement.score_name(name))
    }


def _saved_maps(
    dataset: AnomalySet,
    maps: Mapping[str, str | Path],
    negate: Collection[str],
    strip: Sequence[str],
    *,
    alone: bool,
    origins: dict[str, dict[str, Any] | None],
) -> tuple[list[ScoreSource], dict[str, str]]:
    """The maps of a dataset, and why those of some methods cannot be used.

    `origins` holds the models of the maps of earlier datasets by name, and gets those of this one.
    """
    sources: list[ScoreSource] = []
    failures = {}
    for name, root in maps.items():
        folder = Path(root) / dataset.name
        if alone and not folder.is_dir():
            folder = Path(root)
        try:
            images = dataset.image_paths()
            source = SavedMaps(name, folder, images, negate=name in negate, strip=tuple(strip))
            _require_one_origin(source, origins)
            sources.append(source)
        except (ValueError, FileNotFoundError) as error:
            failures[name] = str(error)
    return sources, failures


def _require_one_origin(maps: SavedMaps, origins: dict[str, dict[str, Any] | None]) -> None:
    """Note the model of a method's maps; raise a ValueError if those before are of another."""
    (name,) = maps.names
    before, origin = origins.get(name), maps.origin
    if before and origin:
        earlier = MapOrigin(**before)
        if earlier.score != origin.score or earlier.is_other(origin.checkpoint_sha256):
            raise ValueError(
                f"{maps.folder} holds maps of the score {origin.score!r} of {origin.named()}, but "
                f"those of an earlier dataset are of {earlier.score!r} of {earlier.named()}; one "
                "row is one model: give them two names"
            )
    origins[name] = before or (asdict(origin) if origin else None)


def _compare_on(
    dataset: AnomalySet, sources: Sequence[ScoreSource], folder: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """Results on one dataset for `benchmark.json`, and the failures by name; shows its progress."""
    store = _Store(folder, sources, dataset)
    comparison = ScoreComparison(sources, dataset.labels, store=store)
    images = comparison.run(dataset.batches(comparison.start))
    for _ in tracked(images, dataset.name, dataset.size - comparison.start):
        pass
    described, notes, pixels = {}, [], None
    for name, counts in comparison.counts.items():
        if name not in comparison.failures:
            with warnings_as_notes() as hints:
                described[name] = counts.described()
            notes += [f"{dataset.name}, {name}: {hint}" for hint in hints]
            pixels = counts.pixels()
    result = {
        "images": dataset.size,
        "dataset": dataset.config.get("type"),
        "data_root": str(dataset.config.get("data_root")),
        "pixels": pixels,
        "scores": described,
        "notes": notes,
    }
    return result, comparison.failures


class _Store:
    """Counts on disk, valid for the same files and options only."""

    def __init__(self, folder: Path, sources: Sequence[ScoreSource], dataset: AnomalySet) -> None:
        common = {"ood_seg": __version__, **dataset.identity()}
        self._parts = {
            name: (PartialResults(folder, {**common, **identity.options}), identity.files)
            for source in sources
            for name, identity in source.identities.items()
        }

    def load(self, name: str) -> ScoreCounts | None:
        parts, files = self._parts[name]
        state = parts.load(name, files)
        return None if state is None else ScoreCounts.from_state(state)

    def save(self, name: str, counts: ScoreCounts) -> None:
        parts, files = self._parts[name]
        parts.save(name, files, counts.state())
