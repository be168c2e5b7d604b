"""Arguments of `evaluate`: metrics, intervals, and images to select thresholds on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ood_seg.commands import _map_arguments
from ood_seg.commands._map_arguments import add_curve

if TYPE_CHECKING:
    from ood_seg.evaluation.settings import Settings

_NONE = "none"


def add_metrics(group: argparse._ArgumentGroup) -> None:
    """Add protocol, mode, intervals, and parts of the evaluation."""
    group.add_argument(
        "--protocol",
        default="pooled",
        metavar="NAME",
        help="rules of a published table (default: pooled; an unknown name lists them all)",
    )
    group.add_argument(
        "--mode",
        default="auto",
        choices=("auto", "exact", "streaming"),
        help="auto is exact while the scores fit into --memory, then streaming, with bounds",
    )
    group.add_argument(
        "--memory", type=float, default=2.0, metavar="GIB", help="see --mode (default: 2)"
    )
    group.add_argument(
        "--tpr",
        type=float,
        nargs="+",
        default=[0.95],
        metavar="RATE",
        help="give the FPR also at these true-positive rates, such as 0.9",
    )
    _add_intervals(group)
    _add_parts(group)


def _add_intervals(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--samples",
        type=int,
        default=1000,
        metavar="N",
        help="bootstrap resamples (default: %(default)s); 0: no intervals",
    )
    group.add_argument(
        "--level",
        type=float,
        default=0.95,
        metavar="SHARE",
        help="of the intervals (default: %(default)s)",
    )
    group.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of resamples and of the division into halves (default: %(default)s)",
    )


def _add_parts(group: argparse._ArgumentGroup) -> None:
    """Add components and calibration, and the images that their thresholds come from."""
    group.add_argument(
        "--components",
        default="anomaly",
        choices=("anomaly", "obstacle", _NONE),
        help="track of the component metrics, which sets the smallest sizes that count (default: "
        "%(default)s)",
    )
    add_curve(group, former="--calibration", default="platt")
    group.add_argument(
        "--select-fraction",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="share of the images that calibration and operating points are fitted on; they are "
        "reported on the others (default: %(default)s; 0: fitted and reported on all)",
    )
    group.add_argument(
        "--threshold-on",
        default="all",
        choices=("all", "select"),
        help="images whose best F1 gives the component threshold: all, as published, or those "
        "of --select-fraction, with components reported on the others",
    )


def evaluation_settings(args: argparse.Namespace) -> Settings:
    """Return the settings of `add_metrics` and `add_maps`, but for the name of the method."""
    from ood_seg.evaluation.settings import Settings
    from ood_seg.io.provenance import git_commit

    same = ("protocol", "mode", "samples", "level", "seed", "select_fraction", "threshold_on")
    return Settings(
        data_set=_map_arguments.data_set_name(args),
        **{name: getattr(args, name) for name in same},
        memory=int(args.memory * 2**30),
        tprs=tuple(args.tpr),
        calibration=None if args.fit_curve == _NONE else args.fit_curve,
        track=None if args.components == _NONE else args.components,
        commit=git_commit(),
    )
