"""The datasets that a config names, for `ood-seg check-data --config`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg.datasets.listing import Listing, shorten
from ood_seg.datasets.setup.checks import Report, check_coco, check_cutouts, check_splits
from ood_seg.datasets.setup.pair_checks import Track, check_images, untracked
from ood_seg.datasets.setup.splits import Split
from ood_seg.labels import IGNORE

if TYPE_CHECKING:
    from mmengine.config import Config

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
_SOURCE_FILES = ("ann_file", "img_dir", "mask_dir")
_MIXED = ("clean", "pasted", "known", "outliers")  # of `OutlierMix` and `KnownWithOutliers`


def check_config_datasets(
    cfg: Config, *, quick: bool = False, track: Track = untracked
) -> Iterator[Report]:
    """Check the datasets of a config, and the COCO files and cut-outs that it pastes from.

    `ood_seg.register` must have been imported, or the config must import it. A dataset that is
    used twice is checked once.

    Raises:
        KeyError: a type of a dataset or source that is not registered (by mmengine).
    """
    from mmengine.registry import init_default_scope

    init_default_scope(cfg.get("default_scope") or "mmseg")
    distinct: dict[str, tuple[str, dict]] = {}
    for name, dataset in dataset_configs(cfg):
        key = repr(sorted((k, repr(v)) for k, v in dataset.items() if k != "pipeline"))
        distinct.setdefault(key, (name, dataset))
    for name, dataset in distinct.values():
        report = Report(f"{name} {_type_name(dataset)}", Path(dataset.get("data_root") or "."))
        split = _list_dataset(name, dataset)
        if split.images is not None:
            report.found += split.listing.notes
            report.problems += check_images(split.images, quick=quick, track=track)
        else:
            report = check_splits(report, [split], quick=quick, track=track)
        yield report
    for name, source in outlier_sources(cfg):
        if checked := _check_source(f"{name} outliers", source, quick=quick, track=track):
            yield checked


def dataset_configs(cfg: Config) -> Iterator[tuple[str, dict]]:
    """Yield each plain dataset dict of the train, val and test loaders with its place."""
    for key in _LOADERS:
        yield from _walk(key.removesuffix("_dataloader"), cfg.get(key))


def training_data(cfg: Config) -> list[str]:
    """Return what a config trains on, as text: types and places of its datasets and outliers."""
    sets = [(n, d["type"], d.get("data_root")) for n, d in dataset_configs(cfg)]
    sets += [(name, "outliers", _place(source)) for name, source in outlier_sources(cfg)]
    return sorted({f"{kind}: {place}" for name, kind, place in sets if name.startswith("train")})


def outlier_sources(cfg: Config) -> list[tuple[str, dict]]:
    """Return the outlier sources that a config pastes from, each with its first place.

    Sources of the same type and files are one, whatever they choose of these.
    """
    found: dict[tuple, tuple[str, dict]] = {}
    for name, dataset in dataset_configs(cfg):
        for step in dataset.get("pipeline") or ():
            source = step.get("source")
            if isinstance(source, dict) and "type" in source:
                key = (_type_name(source), *(str(source.get(key)) for key in _SOURCE_FILES))
                found.setdefault(key, (name, source))
    return list(found.values())


def _place(source: dict) -> str | Path:
    """Where outliers come from: the first of the files, else the type of the source."""
    files = (source[key] for key in _SOURCE_FILES if source.get(key))
    return next(map(Path, files), _type_name(source))


def _check_source(name: str, source: dict, *, quick: bool, track: Track) -> Report | None:
    """Check COCO objects or cut-outs; None for a source of another kind, which has no files."""
    from mmseg.registry import TRANSFORMS

    if isinstance(source["type"], str) and TRANSFORMS.get(source["type"]) is None:
        TRANSFORMS.build(source)  # raises the error that training would
    if _type_name(source) == "CutoutFolder":
        masks = source.get("mask_dir")
        folders = Path(source["img_dir"]), None if masks is None else Path(masks)
        return check_cutouts(*folders, quick=quick, name=name, track=track)
    if "ann_file" in source and "img_dir" in source:
        files = Path(source["ann_file"]), Path(source["img_dir"])
        return check_coco(*files, quick=quick, name=name, track=track)
    return None


def _walk(name: str, node: Any) -> Iterator[tuple[str, dict]]:
    """Descend through named loaders and wrappers of one dataset, of a list, or of a mix."""
    if not isinstance(node, dict):
        return
    inner = node.get("dataset")
    if isinstance(inner, dict):
        yield from _walk(name, inner)
    elif isinstance(node.get("datasets"), (list, tuple)):
        for index, part in enumerate(node["datasets"]):
            yield from _walk(f"{name}[{index}]", part)
    elif "type" in node and any(part in node for part in _MIXED):
        for part in _MIXED:
            yield from _walk(f"{name}.{part}", node.get(part))
    elif "type" in node:
        yield name, node
    else:
        for key, part in node.items():
            yield from _walk(f"{name}.{key}", part)


def _type_name(dataset: dict) -> str:
    kind = dataset["type"]
    return kind if isinstance(kind, str) else kind.__name__


def _list_dataset(name: str, dataset: dict) -> Split:
    """Build a dataset and take its pairs; images without a mask in the config are left out.

    Of an image-level dataset, the images are taken.
    """
    from mmseg.registry import DATASETS

    try:
        built = DATASETS.build({**dataset, "pipeline": [], "lazy_init": False})
        infos = [built.get_data_info(index) for index in range(len(built))]
    except (ValueError, OSError, AssertionError) as error:
        return Split("", Listing(problems=[str(error)]), {})
    except IndexError:
        problem = "fewer images than the `indices` of the config name; fetch the whole dataset"
        return Split("", Listing(problems=[problem]), {})
    if infos and "gt_label" in infos[0]:
        # Images of arrays and noise have no files of their own.
        files = [Path(info["img_path"]) for info in infos if "img" not in info]
        return Split("", Listing(notes=[f"{len(infos)} images"]), {}, images=files)
    pairs = [
        (Path(info["img_path"]), Path(info["seg_map_path"]))
        for info in infos
        if info.get("seg_map_path")
    ]
    absent = [mask for _, mask in pairs if not mask.is_file()]
    listing = Listing([pair for pair in pairs if pair[1].is_file()])
    if absent:
        listing.problems.append(f"{len(absent)} masks not found: {shorten(absent)}")
    classes = built.metainfo.get("classes") or ()
    info = infos[0] if infos else {}
    label_map = dict(info.get("label_map") or {index: index for index in range(len(classes))})
    if not info.get("label_map_is_complete"):
        label_map.setdefault(IGNORE, IGNORE)
    return Split(
        "",
        listing,
        label_map,
        is_evaluation=tuple(classes) == ("known", "anomaly"),
        is_fitted=any(step.get("fit_to_image") for step in dataset.get("pipeline") or ()),
    )
