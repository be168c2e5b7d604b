"""Choose the input perturbation of ODIN or Mahalanobis from known images alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from ood_seg.commands import _arguments
from ood_seg.commands._model_arguments import add_model
from ood_seg.commands._summary import Outcome

USAGE = "CONFIG [CHECKPOINT]"
PAGE = "docs/scores.md"
EXAMPLES = (
    "ood-seg choose-epsilon energy_resnet20_cifar10 --num-images 1000",
    "ood-seg choose-epsilon energy_fcn-erfnet_cityscapes --score mahalanobis "
    "--statistics erfnet.stats",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg choose-epsilon`."""
    add_model(parser)
    parser.add_argument(
        "--score",
        choices=("odin", "mahalanobis"),
        default="odin",
        help="whose epsilon is chosen (default: %(default)s)",
    )
    parser.add_argument(
        "--epsilons",
        nargs="+",
        type=float,
        metavar="E",
        help="candidates, shares of the image's full range (default: the published ones)",
    )
    parser.add_argument(
        "--temperature", type=float, default=1000.0, help="of ODIN (default: %(default)g)"
    )
    parser.add_argument(
        "--statistics", type=Path, metavar="FILE", help="of `ood-seg fit`, for mahalanobis"
    )
    parser.add_argument(
        "--data",
        nargs="+",
        default=["fit"],
        metavar="NAME",
        help="known images, at best not trained on: `fit`, the config's fit_dataloader (default), "
        "or names of test sets with class labels",
    )
    parser.add_argument(
        "--num-images", type=int, metavar="N", help="a seeded choice of N images of each of --data"
    )
    parser.add_argument(
        "--file", metavar="FILE", help="JSON to write (default: epsilon.json in the work dir)"
    )
    _arguments.add_run(parser, one_process=True)


def run(args: argparse.Namespace) -> Outcome:
    """Choose as the arguments say; write the JSON file and print the candidates.

    Code 1 if an image had to be left out.
    """
    cfg = _arguments.load_config(args)
    from ood_seg.engine.epsilon_choice import choose_epsilon
    from ood_seg.io.json_files import write_json
    from ood_seg.reports.tables import print_table
    from ood_seg.reports.test_results import epsilons_table

    path = _arguments.json_path(args, cfg, "epsilon.json")
    names = ("score", "epsilons", "temperature", "statistics", "data", "num_images")
    found = choose_epsilon(cfg, args.checkpoint, **{name: getattr(args, name) for name in names})
    write_json(path, found)
    options = ", ".join(f"{name}={value!r}" for name, value in found["config"].items())
    lines = [f"score=dict({options})", f"written to {path.absolute()}"]
    if 0 < found["epsilon"] == max(map(float, found["confidences"])):
        lines.append("note: this is the largest candidate; --epsilons takes larger ones")
    print_table(epsilons_table(found), *lines)
    numbers = {"epsilon": found["epsilon"], "confidences": found["confidences"]}
    return Outcome(int(bool(found["left_out"])), outputs=[path], numbers=numbers)
