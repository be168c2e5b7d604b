"""The data sets that a config names, for `ood-seg check-data --config`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg.datasets.label_maps import EVALUATION_LABELS
from ood_seg.datasets.listing import Listing, shorten
from ood_seg.datasets.setup.checks import Report, check_pairs
from ood_seg.labels import IGNORE

if TYPE_CHECKING:
    from mmengine.config import Config

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
_MIXED = ("clean", "pasted")  # the parts of an `OutlierMix`


@dataclass
class ConfigSet:
    """A data set of a config: where it stands in it, its pairs and its label values."""

    name: str
    folder: Path
    listing: Listing
    label_map: dict[int, int] = field(default_factory=dict)
    required: tuple[int, ...] = ()


def sets_of_config(path: str | Path) -> list[ConfigSet]:
    """Find and list the datasets of a config; a dataset used twice is listed once.

    `ood_seg.register` must have been imported, or the config must import it.

    Raises:
        ValueError: a data set type that is not registered.
    """
    from mmengine.config import Config
    from mmengine.registry import init_default_scope

    cfg = Config.fromfile(path)
    init_default_scope(cfg.get("default_scope") or "mmseg")
    found: dict[str, ConfigSet] = {}
    for name, dataset in dataset_configs(cfg):
        key = repr(sorted((k, repr(v)) for k, v in dataset.items() if k != "pipeline"))
        if key not in found:
            found[key] = _list_config_set(name, dataset)
    return list(found.values())


def dataset_configs(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Yield each plain data set dict of the train, val and test loaders with its place."""
    for key in _LOADERS:
        yield from _walk(key.removesuffix("_dataloader"), cfg.get(key))


def training_data(cfg: Config) -> list[str]:
    """What a config trains on, for people: types and places of its data sets and outliers."""
    sets = [(n, d["type"], d.get("data_root")) for n, d in dataset_configs(cfg)]
    sets += [(name, "outliers", files[0]) for files, name in outlier_sources(cfg).items()]
    return sorted({f"{kind}: {place}" for name, kind, place in sets if name.startswith("train")})


def outlier_sources(cfg: Config) -> dict[tuple[Path, Path], str]:
    """COCO annotations and pictures that a config pastes from, each with the first place of it."""
    found: dict[tuple[Path, Path], str] = {}
    for name, dataset in dataset_configs(cfg):
        for step in dataset.get("pipeline") or ():
            source = step.get("source") or {}
            if isinstance(source, dict) and {"ann_file", "img_dir"} <= source.keys():
                found.setdefault((Path(source["ann_file"]), Path(source["img_dir"])), name)
    return found


def _walk(name: str, node: Any) -> Iterator[tuple[str, dict]]:
    """Descend through named loaders and wrappers of one data set, of a list, or of a mix."""
    if not isinstance(node, dict):
        return
    inner = node.get("dataset")
    if isinstance(inner, dict):
        yield from _walk(name, inner)
    elif isinstance(node.get("datasets"), (list, tuple)):
        for index, part in enumerate(node["datasets"]):
            yield from _walk(f"{name}[{index}]", part)
    elif any(part in node for part in _MIXED):
        for part in _MIXED:
            yield from _walk(f"{name}.{part}", node.get(part))
    elif "type" in node:
        yield name, node
    else:
        for key, part in node.items():
            yield from _walk(f"{name}.{key}", part)


def _list_config_set(name: str, dataset: dict) -> ConfigSet:
    from mmseg.registry import DATASETS

    kind = dataset["type"] if isinstance(dataset["type"], str) else dataset["type"].__name__
    if isinstance(dataset["type"], str) and DATASETS.get(kind) is None:
        raise ValueError(
            f"{name}: data set type {kind!r} is not registered; does the config import its module "
            "(custom_imports)?"
        )
    label = f"{name} {kind}"
    folder = Path(dataset.get("data_root") or ".")
    try:
        built = DATASETS.build({**dataset, "pipeline": [], "lazy_init": False})
        infos = [built.get_data_info(index) for index in range(len(built))]
    except (ValueError, OSError, AssertionError) as error:
        return ConfigSet(label, folder, Listing(problems=[str(error)]))
    except IndexError:
        problem = "fewer images than the `indices` of the config name; fetch the whole set"
        return ConfigSet(label, folder, Listing(problems=[problem]))
    return _from_infos(label, folder, infos, built.metainfo.get("classes") or ())


def _from_infos(label: str, folder: Path, infos: list[dict], classes: tuple) -> ConfigSet:
    """Take the pairs out of mmseg's data infos; what has no mask in the config is left out."""
    pairs = [
        (Path(info["img_path"]), Path(info["seg_map_path"]))
        for info in infos
        if info.get("seg_map_path")
    ]
    absent = [mask for _, mask in pairs if not mask.is_file()]
    listing = Listing([pair for pair in pairs if pair[1].is_file()])
    if absent:
        listing.problems.append(f"{len(absent)} masks not found: {shorten(absent)}")
    info = infos[0] if infos else {}
    label_map = dict(info.get("label_map") or {index: index for index in range(len(classes))})
    if not info.get("label_map_is_complete"):
        label_map.setdefault(IGNORE, IGNORE)
    is_evaluation = tuple(classes) == ("known", "anomaly")
    required = tuple(v for v in EVALUATION_LABELS if v != IGNORE) if is_evaluation else ()
    return ConfigSet(label, folder, listing, label_map, required)


def check_config_set(
    found: ConfigSet, *, quick: bool = False, advance: Callable[[], None] = lambda: None
) -> Report:
    """Check the files of a data set that `sets_of_config` listed."""
    what, problems = check_pairs(
        found.listing, found.label_map, required=found.required, quick=quick, advance=advance
    )
    listed = [what] if found.listing.pairs else []
    return Report(found.name, found.folder, found=listed, problems=problems)
