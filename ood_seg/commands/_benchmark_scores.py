"""What `ood-seg benchmark` compares: scores of a model, and folders of score maps."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of scores and maps."""
    scores = parser.add_argument_group("scores")
    scores.add_argument(
        "--scores",
        nargs="+",
        metavar="NAME",
        help="ready-made scores, or `all` (default, unless --score or --maps is given); an unknown "
        "name lists them",
    )
    scores.add_argument(
        "--score",
        nargs="+",
        default=[],
        action="extend",
        metavar="NAME=CONFIG",
        help="""any registered score as JSON: 'energy-2={"type": "Energy", "temperature": 2}'""",
    )
    scores.add_argument(
        "--statistics", type=Path, metavar="FILE", help="of `ood-seg fit`, for the scores that need"
    )
    scores.add_argument(
        "--smoothing",
        nargs=2,
        type=float,
        metavar=("TAPS", "SIGMA"),
        help="Gaussian smoothing as the last step of every score of the model, such as 7 1",
    )
    _add_map_arguments(parser.add_argument_group("score maps of other methods"))


def _add_map_arguments(maps: argparse._ArgumentGroup) -> None:
    maps.add_argument(
        "--maps",
        nargs="+",
        default=[],
        action="extend",
        metavar="NAME=DIR",
        help="score maps at the size of the masks in DIR/SET, as `ood-seg test --out DIR` writes "
        "them, or in DIR for a single set; .npy, .npz, TIFF, PNG or EXR, with a scale.json",
    )
    maps.add_argument(
        "--negate", nargs="+", default=[], metavar="NAME", help="maps with low values for anomalies"
    )
    maps.add_argument(
        "--strip",
        nargs="+",
        default=[],
        metavar="PATTERN",
        help="regular expressions taken off the file names before they are paired",
    )


def chosen_scores(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Configs of the scores by name.

    Raises:
        ValueError: an unknown or repeated name, or a text that is no config.
    """
    import json

    from ood_seg.comparison.names import ALL, check_name, ready_made

    names = args.scores or ([] if args.score or args.maps else [ALL])
    found = ready_made(names) if names else {}
    for text in args.score:
        name, sign, config = text.partition("=")
        try:
            value = json.loads(config) if sign else None
        except json.JSONDecodeError:
            value = None
        if not isinstance(value, dict) or "type" not in value:
            raise ValueError(
                f"""--score: expected NAME={{"type": ...}} with JSON as its config, got {text!r}"""
            )
        _take(found, check_name(name), value, "--score")
    return found


def asked_for(args: argparse.Namespace) -> set[str]:
    """Names of scores of the model that were given one by one, not by `all`."""
    return {*(args.scores or ()), *(text.partition("=")[0] for text in args.score)}


def chosen_maps(
    args: argparse.Namespace, taken: Iterable[str]
) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Folder and reading options of the maps by name.

    Raises:
        ValueError: a repeated name, no folder, or a name to negate that is none of them.
    """
    from ood_seg.comparison.names import check_name

    found: dict[str, Any] = dict.fromkeys(taken)
    for text in args.maps:
        name, sign, folder = text.partition("=")
        if not sign or not folder:
            raise ValueError(f"--maps: expected NAME=DIR, got {text!r}")
        options = {"negate": name in args.negate, "strip": tuple(args.strip)}
        _take(found, check_name(name), (Path(folder), options), "--maps")
    maps = {name: value for name, value in found.items() if name not in taken}
    unknown = [name for name in args.negate if name not in maps]
    if unknown:
        raise ValueError(f"--negate: {unknown[0]!r} is none of the --maps: {', '.join(maps)}")
    return maps


def _take(found: dict[str, Any], name: str, value: Any, option: str) -> None:
    if name in found:
        raise ValueError(f"{option}: the name {name!r} is taken; give another")
    found[name] = value


class Entrants:
    """A model with its weights and the scores to be computed of it.

    Args:
        cfg: the config.
        args: of the command.
        configs: of the scores, by name.

    Attributes:
        configs: those that were built, as built.
        failures: why a score could not be, by name.
        source: gives their scores.
        identities: what the results of each depend on, beside the data.
    """

    def __init__(
        self, cfg: Config, args: argparse.Namespace, configs: Mapping[str, dict[str, Any]]
    ) -> None:
        from ood_seg.comparison.shared_pass import SharedPass
        from ood_seg.engine.runner import set_up_process
        from ood_seg.io.json_files import plain
        from ood_seg.models.loading import load_model
        from ood_seg.smoothing import GaussianSmoothing

        self.seed = set_up_process(cfg)
        self.model = model = load_model(cfg, args.checkpoint, plain_score=True)
        self.checkpoint, self.statistics = model.cfg.load_from, args.statistics
        self.device = next(model.parameters()).device
        smoothing = None
        if args.smoothing:
            taps, sigma = args.smoothing
            smoothing = GaussianSmoothing(int(taps), sigma)
        self.failures: dict[str, str] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        modules: dict[str, nn.Module] = {}
        for name, config in configs.items():
            self.configs[name] = with_statistics(config, self.statistics)
            try:
                modules[name] = _build(self.configs[name]).to(self.device).eval()
            except (ValueError, FileNotFoundError, TypeError) as error:
                self.failures[name] = str(error)
        self.source = SharedPass(model, modules, smoothing)
        self.failures.update(self.source.failures)
        if not self.source.names:
            raise ValueError(
                "no score can be computed: "
                + "; ".join(f"{name}: {reason}" for name, reason in self.failures.items())
            )
        common = {
            "model": plain(model.cfg.model),
            "smoothing": args.smoothing,
            "seed": self.seed,
            "device": str(self.device),
        }
        self.identities = {
            name: ({**common, "score": self.configs[name]}, self._files_of(name))
            for name in self.source.names
        }

    def _files_of(self, name: str) -> list[Path]:
        """The checkpoint, and what a score names: statistics, members of an ensemble."""
        return _files_named_in([self.checkpoint, self.configs[name]])

    def facts(self) -> dict[str, Any]:
        """What the scores rest on, as JSON values."""
        import torch

        from ood_seg.io.provenance import checkpoint_sha256

        return {
            "checkpoint": self.checkpoint,
            "checkpoint_sha256": checkpoint_sha256(self.checkpoint),
            "statistics": None if self.statistics is None else str(self.statistics),
            "device": str(self.device),
            "threads": torch.get_num_threads(),
        }


def _files_named_in(value: Any) -> list[Path]:
    """Files that exist, among all texts of a config."""
    if isinstance(value, str):
        return [Path(value)] if Path(value).is_file() else []
    if isinstance(value, Mapping):
        value = value.values()
    elif not isinstance(value, (list, tuple)):
        return []
    return [path for one in value for path in _files_named_in(one)]


def with_statistics(config: Mapping[str, Any], statistics: Path | None) -> dict[str, Any]:
    """A config with the file of statistics, where its score needs one and names none."""
    from mmseg.registry import MODELS

    from ood_seg.detectors import FittedDetector

    kind = MODELS.get(config["type"])
    if kind is None:
        raise ValueError(f"--score: there is no registered score {config['type']!r}")
    needs_file = isinstance(kind, type) and issubclass(kind, FittedDetector)
    if not needs_file or "statistics" in config or statistics is None:
        return dict(config)
    return {**config, "statistics": str(statistics)}


def _build(config: Mapping[str, Any]) -> nn.Module:
    """The score of a config; the errors of its own constructor as they are."""
    from mmseg.registry import MODELS

    from ood_seg.detectors import FittedDetector

    options = dict(config)
    kind = MODELS.get(options.pop("type"))
    if issubclass(kind, FittedDetector) and "statistics" not in options:
        raise ValueError(
            "needs --statistics FILE; `ood-seg fit CONFIG CHECKPOINT --out FILE` makes it"
        )
    return kind(**options)
