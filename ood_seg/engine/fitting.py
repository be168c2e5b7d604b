"""One pass over known data for the statistics of all fitted scores.

dataset -> FitData.batches -> (images, labels) -> fit_statistics -> Statistics by method
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import all_reduce
from torch import Tensor

from ood_seg import detectors
from ood_seg.detectors import Fitter, Network, Statistics, StatisticsFile, layers_of
from ood_seg.engine.fit_data import FIT, FitData
from ood_seg.engine.runner import load_config, set_up_process
from ood_seg.engine.test_sets import is_image_level
from ood_seg.io.provenance import checkpoint_sha256, git_commit
from ood_seg.labels import IGNORE, OUTLIER, require_distinct_labels
from ood_seg.models.detector_scores import network_of, require_layers
from ood_seg.models.loading import load_model
from ood_seg.spelling import did_you_mean

ALL = "all"
_RARE = 0.001  # share of the pixels below which a class is reported


@dataclass
class Fit:
    """The result of a pass over the data.

    Attributes:
        statistics: by method.
        failures: why a method has none, by method.
        pixels: number of pixels of each class, by label.
        num_outliers: pasted pixels.
        num_ignored: pixels without a label.
        images: number of images by dataset; set by `fit`.
        left_out: methods that `all` did not include; set by `fit`.
        unreadable: why images were left out, by dataset; set by `fit`.
        unit: what labels are of: `pixels`, or `images`; set by `fit`.
        file: the statistics with classes and provenance, to be saved; set by `fit`.
    """

    statistics: dict[str, Statistics] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    pixels: list[int] = field(default_factory=list)
    num_outliers: int = 0
    num_ignored: int = 0
    images: dict[str, int] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    unreadable: dict[str, list[str]] = field(default_factory=dict)
    unit: str = "pixels"
    file: StatisticsFile = field(default_factory=lambda: StatisticsFile({}))

    def absent_classes(self, names: Iterable[str]) -> list[str]:
        """Return the classes without a pixel."""
        return [name for name, count in zip(names, self.pixels, strict=True) if not count]

    def summary(self) -> list[str]:
        """Return lines on methods, data, absent and rare classes, bad files and failures."""
        classes = self.file.classes
        absent = self.absent_classes(classes)
        few = _RARE * sum(self.pixels)
        rare = [name for name, n in zip(classes, self.pixels, strict=True) if 0 < n < few]
        pasted = f", {self.num_outliers:,} pasted" if self.num_outliers else ""
        lines = [
            f"fitted: {', '.join(self.statistics)}",
            ", ".join(f"{count} images of {name}" for name, count in self.images.items()),
            f"{sum(self.pixels):,} labelled {self.unit}{pasted}",
        ]
        if absent:
            lines.append(f"note: no {self.unit[:-1]} of {', '.join(absent)}")
        if rare:
            lines.append(f"note: less than {_RARE:.1%} of the {self.unit} each: {', '.join(rare)}")
        if self.left_out:
            lines.append(
                f"note: {', '.join(self.left_out)} not included in `{ALL}`: no layers named, or no "
                "pasted scenes read; --methods fits them"
            )
        for name, texts in self.unreadable.items():
            lines += [f"left out of {name}: {text}" for text in texts]
        return [*lines, *(f"not fitted: {name}: {why}" for name, why in self.failures.items())]


def fit(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    methods: Sequence[str] = (ALL,),
    layers: Sequence[str] = (),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    data: Sequence[str] = (FIT,),
    num_images: int | None = None,
    pasted: int = 200,
) -> Fit:
    """Fit the scores that need statistics of known data, as `ood-seg fit` does.

    Args:
        config: path of a file, name of a shipped config, or a config, such as `load_config` of
            `engine.runner` returns with other options, seed or launcher.
        checkpoint: file; None: the config's `load_from`.
        methods: names of fitted methods, or `all`: every one except `multi-mahalanobis` where
            no two layers are named for it, and `weighted-energy` where no other method reads
            pasted scenes.
        layers: activations for the methods that can read others than the classifier's input.
        options: of single methods, by method and name; they override the config's `fit_options`.
        data: `fit`, the config's `fit_dataloader`; `train`, its augmented training scenes; or
            names of its test sets with class labels.
        num_images: a seeded choice of that many images of each of `data`; None: all.
        pasted: number of scenes with pasted objects, from which methods of several layers learn
            how to weight them, and weighted energy its weights; read only if such a method is
            fitted.

    An image whose file or label file is bad is left out; `unreadable` of the result, and `left_out`
    in the facts of the file, state which and why.

    Returns:
        Statistics and failures by method, pixel counts, and the `StatisticsFile` to save.

    Raises:
        FileNotFoundError: config or checkpoint does not exist.
        ValueError: an unknown name, layer or option; a checkpoint that `load_model` refuses; or
            no method could be fitted.
    """
    cfg = load_config(config)
    common = {"layers": tuple(layers)} if layers else {}
    given = options or {}, cfg.get("fit_options")
    image_level = is_image_level(cfg)
    # Unknown names fail before the model is loaded.
    make_fitters(methods, common, *given, image_level=image_level)
    seed = set_up_process(cfg)
    model = load_model(cfg, checkpoint, plain_score=True)
    fitters = make_fitters(methods, {**common, "seed": seed}, *given, image_level=image_level)
    network = network_of(model)
    require_layers(network, layers_of(fitters))
    if ALL in methods and not (pasted and weights_layers(fitters)):
        fitters = {k: one for k, one in fitters.items() if not needs_outliers(one)}
    pasted = pasted if learns_from_outliers(fitters) else 0
    source = FitData(cfg, data, num_images=num_images, pasted=pasted, seed=seed)
    with source.batches(model, fitters) as batches:
        found = fit_statistics(network, batches, fitters, num_classes=model.num_classes)
    if not found.statistics:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in found.failures.items())
        raise ValueError(f"nothing could be fitted: {reasons}")
    found.unreadable = source.left_out()
    found.unit = "images" if image_level else "pixels"
    left_out = {name: len(reasons) for name, reasons in found.unreadable.items()}
    found.images = {name: n - left_out.get(name, 0) for name, n in source.counts.items()}
    if ALL in methods:
        found.left_out = tuple(name for name in detectors.FITTED if name not in fitters)
    classes = source.classes
    if len(classes) != model.num_classes:
        classes = tuple(f"class {index}" for index in range(model.num_classes))
    facts = _provenance(model.cfg, found, seed)
    found.file = StatisticsFile(found.statistics, network.fingerprint(), classes, facts)
    return found


def _provenance(cfg: Config, found: Fit, seed: int) -> dict[str, Any]:
    return {
        "model": cfg.load_from,
        "checkpoint_sha256": checkpoint_sha256(cfg.load_from),
        "config": str(cfg.filename),
        "data": found.images,
        "images": sum(found.images.values()),
        "left_out": found.unreadable,
        "pixels": found.pixels,
        "outlier_pixels": found.num_outliers,
        "ignored_pixels": found.num_ignored,
        "seed": seed,
        "commit": git_commit(),
    }


@torch.no_grad()
def fit_statistics(
    network: Network,
    batches: Iterable[tuple[Tensor, Tensor]],
    fitters: Mapping[str, Fitter],
    *,
    num_classes: int,
) -> Fit:
    """Update the fitters of all methods with known data, in one forward pass per batch.

    Under torch.distributed each process reads its share, and all get the same result. A method
    with too little data is reported in `failures`; the others are fitted all the same.

    Args:
        network: in evaluation mode.
        batches: prepared images `(N, 3, H, W)` and labels `(N, H, W)` at their size: 0..C-1, 254
            outlier, 255 ignored; on the network's device.
        fitters: by method.
        num_classes: C.

    Raises:
        ValueError: no pixel has a known class, or a label has another value.
    """
    layers = layers_of(fitters)
    device = next(network.module.parameters()).device
    counts = torch.zeros(num_classes + 2, dtype=torch.int64, device=device)
    for images, labels in batches:
        counts += _label_counts(labels, num_classes)
        outputs = network(images, layers)
        for fitter in fitters.values():
            fitter.update(outputs, labels, network)
    all_reduce(counts)
    *pixels, outliers, ignored = counts.tolist()
    if not any(pixels):
        raise ValueError("the data to fit on hold no pixel of a known class")
    found = Fit(pixels=pixels, num_outliers=outliers, num_ignored=ignored)
    for name, fitter in fitters.items():
        fitter.reduce()
        try:
            found.statistics[name] = fitter.result()
        except ValueError as error:
            found.failures[name] = str(error)
    return found


def _label_counts(labels: Tensor, num_classes: int) -> Tensor:
    """Pixels of each class, of outliers and of ignored ones, `(C + 2,)`."""
    require_distinct_labels(num_classes)
    values = torch.bincount(labels.flatten().long(), minlength=256)
    rest = values.clone()
    rest[:num_classes] = 0
    rest[[OUTLIER, IGNORE]] = 0
    if rest.any():
        found = ", ".join(map(str, rest.nonzero().flatten().tolist()))
        raise ValueError(
            f"labels must be 0..{num_classes - 1}, {OUTLIER} (outlier) or {IGNORE} (ignored), got "
            f"also {found}; the dataset has other classes than the model"
        )
    return torch.cat([values[:num_classes], values[[OUTLIER, IGNORE]]])


def make_fitters(
    methods: Sequence[str],
    common: Mapping[str, Any],
    options: Mapping[str, Mapping[str, Any]],
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    image_level: bool = False,
) -> dict[str, Fitter]:
    """Return the fitters of the chosen methods.

    Args:
        methods: names, or `all`.
        common: options for every method that has them, such as `layers`.
        options: of single methods.
        defaults: options of any methods; the two above override them.
        image_level: also the methods of image-level networks alone.

    Raises:
        ValueError: an unknown method or option; the known ones are listed.
    """
    kinds = {**detectors.FITTED, **(detectors.IMAGE_LEVEL if image_level else {})}
    chosen = list(kinds) if ALL in methods else list(dict.fromkeys(methods))
    defaults = defaults or {}
    for what, names in (("--methods", chosen), ("--option", options), ("fit_options", defaults)):
        unknown = [name for name in names if name not in kinds]
        if unknown:
            dense = " for dense networks" if unknown[0] in detectors.IMAGE_LEVEL else ""
            raise ValueError(
                f"{what}: there is no fitted method {unknown[0]!r}{dense}"
                f"{did_you_mean(unknown[0], kinds)}; there are {', '.join(kinds)}"
            )
    unused = [name for name in options if name not in chosen]
    if unused:
        raise ValueError(f"--option: {unused[0]} is not among the methods to fit")
    fitters: dict[str, Fitter] = {}
    used: set[str] = set()
    for name in chosen:
        known = list(inspect.signature(kinds[name].fitter).parameters)
        shared = {key: value for key, value in common.items() if key in known}
        own = {**defaults.get(name, {}), **shared, **options.get(name, {})}
        unknown = [key for key in own if key not in known]
        if unknown:
            raise ValueError(
                f"--option: {name} has no option {unknown[0]!r}; it has {', '.join(known)}"
            )
        fitter = kinds[name].fitter
        if ALL in methods and len(own.get("layers", ())) < getattr(fitter, "least_layers", 0):
            continue
        used |= shared.keys()
        fitters[name] = fitter(**own)
    if "layers" in common and "layers" not in used:
        raise ValueError(f"--layers: none of {', '.join(chosen)} reads layers")
    return fitters


def learns_from_outliers(fitters: Mapping[str, Fitter]) -> bool:
    """Whether a method learns from outlier pixels: to weight its layers, or its classes."""
    return weights_layers(fitters) or any(needs_outliers(one) for one in fitters.values())


def weights_layers(fitters: Mapping[str, Fitter]) -> bool:
    """Whether a method has several layers, which it weights by outlier pixels if there are any."""
    return any(len(fitter.layers) > 1 for fitter in fitters.values())


def needs_outliers(fitter: Fitter) -> bool:
    """Whether a method cannot be fitted without outlier pixels."""
    return getattr(fitter, "needs_outliers", False)
