"""Fit the scores that need statistics of known data, all of them in one pass over it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg.commands import _arguments, _fit_data

if TYPE_CHECKING:
    from mmengine.config import Config

    from ood_seg.detectors import Fitter
    from ood_seg.engine.fitting import Fit

_ALL = "all"
_RARE = 0.001  # share of the pixels below which a class is told


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg fit`."""
    _arguments.add_model(parser)
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="file of the statistics to write"
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        default=[_ALL],
        metavar="NAME",
        help="what to fit (default: all; an unknown name lists them)",
    )
    parser.add_argument(
        "--layers",
        nargs="+",
        metavar="NAME",
        help="activations for the methods that can take others than the classifier's input",
    )
    parser.add_argument(
        "--option",
        nargs="+",
        default=[],
        action="extend",
        metavar="METHOD.NAME=VALUE",
        help="options of a method, such as knn.bank_size=20000; they go before the config's "
        "fit_options",
    )
    _fit_data.add_arguments(parser)
    _arguments.add_run(parser)


def run(args: argparse.Namespace) -> int:
    """Fit as the arguments say; write the file and print what it rests on."""
    from ood_seg.commands._models import load_model
    from ood_seg.detectors import StatisticsFile, layers_of
    from ood_seg.engine.fitting import fit_statistics
    from ood_seg.models.detector_scores import network_of, require_layers

    cfg = _arguments.load_config(args)
    shared = {"layers": tuple(args.layers)} if args.layers else {}
    options = parse_options(args.option), cfg.get("fit_options")
    make_fitters(args.methods, shared, *options)  # bad names fail at once
    model, runner = load_model(cfg, args.checkpoint)
    fitters = make_fitters(args.methods, {**shared, "seed": runner.seed}, *options)
    network = network_of(model)
    require_layers(network, layers_of(fitters))
    data = _fit_data.FitData(
        cfg,
        args.data,
        num_images=args.num_images,
        pasted=args.pasted if _fit_data.wants_outliers(fitters) else 0,
        seed=runner.seed,
    )
    with data.batches(model, fitters) as batches:
        fit = fit_statistics(network, batches, fitters, num_classes=model.num_classes)
    if not fit.statistics:
        raise ValueError("nothing could be fitted: " + "; ".join(_failures(fit)))
    if _arguments.is_main_process():
        classes = _class_names(model, data.classes)
        content = StatisticsFile(
            fit.statistics, network.fingerprint(), classes, _facts(cfg, fit, data, runner.seed)
        )
        content.save(args.out)
        _print(args.out, fit, classes, data)
    return 1 if fit.failures else 0


def make_fitters(
    methods: Sequence[str],
    common: Mapping[str, Any],
    options: Mapping[str, Mapping[str, Any]],
    defaults: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Fitter]:
    """The fitters of the chosen methods.

    Args:
        methods: names, or `all`.
        common: options that go to every method that has them, such as `layers`.
        options: of single methods.
        defaults: the same, of any methods; the two above go before them.

    Raises:
        ValueError: a method or an option is not known; those that are, are listed.
    """
    from ood_seg.detectors import FITTED

    chosen = list(FITTED) if _ALL in methods else list(dict.fromkeys(methods))
    defaults = defaults or {}
    for what, names in (("--methods", chosen), ("--option", options), ("fit_options", defaults)):
        unknown = [name for name in names if name not in FITTED]
        if unknown:
            raise ValueError(
                f"{what}: there is no fitted method {unknown[0]!r}; there are {', '.join(FITTED)}"
            )
    idle = [name for name in options if name not in chosen]
    if idle:
        raise ValueError(f"--option: {idle[0]} is not among the methods to fit")
    fitters, used = {}, set()
    for name in chosen:
        known = _options_of(FITTED[name])
        shared = {key: value for key, value in common.items() if key in known}
        own = {**defaults.get(name, {}), **shared, **options.get(name, {})}
        strange = [key for key in own if key not in known]
        if strange:
            raise ValueError(
                f"--option: {name} has no option {strange[0]!r}; it has {', '.join(known)}"
            )
        used |= shared.keys()
        fitters[name] = FITTED[name].fitter(**own)
    if "layers" in common and "layers" not in used:
        raise ValueError(f"--layers: none of {', '.join(chosen)} takes layers")
    return fitters


def _options_of(method: type) -> list[str]:
    """Names of the options of a method's fitter; one that takes any hands them on to its class."""
    import inspect
    import sys

    parameters = inspect.signature(method.fitter).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        handed_to = getattr(sys.modules[method.__module__], f"{method.__name__}Fitter")
        parameters = inspect.signature(handed_to).parameters
    return list(parameters)


def parse_options(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Options by method, from `METHOD.NAME=VALUE`; values as JSON, other text as it is.

    Raises:
        ValueError: a text has another form.
    """
    import json

    found: dict[str, dict[str, Any]] = {}
    for text in texts:
        place, sign, value = text.partition("=")
        method, dot, name = place.partition(".")
        if not (sign and dot and method and name):
            raise ValueError(f"--option: expected METHOD.NAME=VALUE, got {text!r}")
        try:
            found.setdefault(method, {})[name] = json.loads(value)
        except json.JSONDecodeError:
            found.setdefault(method, {})[name] = value
    return found


def _class_names(model: Any, names: Sequence[str]) -> tuple[str, ...]:
    if len(names) == model.num_classes:
        return tuple(names)
    return tuple(f"class {index}" for index in range(model.num_classes))


def _facts(cfg: Config, fit: Fit, data: _fit_data.FitData, seed: int) -> dict[str, Any]:
    from ood_seg.io.provenance import checkpoint_sha256, git_commit

    checkpoint = str(cfg.load_from)
    return {
        "model": checkpoint,
        "checkpoint_sha256": checkpoint_sha256(checkpoint),
        "config": str(cfg.filename),
        **data.facts(),
        "pixels": fit.pixels,
        "outlier_pixels": fit.num_outliers,
        "ignored_pixels": fit.num_ignored,
        "seed": seed,
        "commit": git_commit(),
    }


def _failures(fit: Fit) -> list[str]:
    return [f"{name}: {reason}" for name, reason in fit.failures.items()]


def _print(path: Path, fit: Fit, classes: Sequence[str], data: _fit_data.FitData) -> None:
    from rich.console import Console

    console = Console()
    lines = [
        f"{path}: {', '.join(fit.statistics)}",
        ", ".join(f"{count} images of {name}" for name, count in data.facts()["data"].items()),
        f"{sum(fit.pixels):,} labelled pixels"
        + (f", {fit.num_outliers:,} pasted" if fit.num_outliers else ""),
    ]
    absent = fit.absent_classes(classes)
    if absent:
        lines.append(f"note: no pixel of {', '.join(absent)}")
    shares = zip(classes, fit.pixels, strict=True)
    rare = [name for name, count in shares if 0 < count < _RARE * sum(fit.pixels)]
    if rare:
        lines.append(f"note: less than {_RARE:.1%} of the pixels each: {', '.join(rare)}")
    lines += [f"not fitted: {failure}" for failure in _failures(fit)]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
