"""Groups of arguments that several commands share, and the config that they describe.

Parsing imports no OpenMMLab: help texts and wrong arguments are answered at once.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ood_seg.commands._model_arguments import add_model, require_config
from ood_seg.commands._parser import add_renamed
from ood_seg.config_files import check_option

if TYPE_CHECKING:
    from mmengine.config import Config


class KeyValues(argparse.Action):
    """Collects texts `KEY=VALUE`; their values are converted when the config is loaded."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Add to the texts of earlier uses of the option."""
        for text in values:
            try:
                check_option(text)
            except ValueError as error:
                parser.error(f"{option_string}: {error}")
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), *values])


def add_pretrained(parser: argparse.ArgumentParser, *, num_images: int) -> None:
    """Add a pre-trained model, the number of its training scenes, and the file to write."""
    add_model(parser, what="pre-trained weights")
    parser.add_argument(
        "--num-images",
        type=int,
        default=num_images,
        metavar="N",
        help="number of pasted scenes (default: %(default)s)",
    )
    parser.add_argument(
        "--file", metavar="FILE.json", help="file to write (default: in the work dir)"
    )
    add_renamed(parser, "--out", "--file")


def add_num_images(parser: argparse.ArgumentParser) -> None:
    """Add the number of images to read of each set."""
    parser.add_argument(
        "--num-images",
        type=int,
        metavar="N",
        help="only the first N images of each set (default: all)",
    )


def add_config_options(parser: argparse._ActionsContainer) -> None:
    """Add `--cfg-options`."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=KeyValues,
        metavar="KEY=VALUE",
        help="values that replace those of the config, e.g. train_cfg.max_iters=20; lists as "
        'key="[a,b]" or key=a,b, nested ones as key="[(a,b),(c,d)]"; no spaces',
    )


def add_run(parser: argparse.ArgumentParser, *, one_process: bool = False) -> None:
    """Add the options that mmseg's `train.py` and `test.py` have in common.

    Args:
        parser: of the command.
        one_process: the command cannot run in several, so that it has no `--launcher`.
    """
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help="folder of logs, checkpoints and results (default: the config's work_dir, else "
        "work_dirs/NAME of the config)",
    )
    add_config_options(parser)
    parser.add_argument("--seed", type=int, metavar="N", help="random seed (default: the config's)")
    if one_process:
        parser.set_defaults(launcher="none", local_rank=0)
        return
    processes = parser.add_argument_group("several processes")
    processes.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="how the processes of a distributed run were started",
    )
    # `torch.distributed.launch` passes it with a dash, older versions with an underscore.
    processes.add_argument(
        "--local_rank", "--local-rank", type=int, default=0, metavar="N", help="set by torch"
    )


def load_config(args: argparse.Namespace) -> Config:
    """Return the config that the arguments of `add_config` and `add_run` describe.

    Raises:
        FileNotFoundError, ValueError: no config is given, or it does not exist.
    """
    require_config(args)
    from ood_seg.startup import prepare

    prepare()
    from ood_seg.engine.runner import load_config

    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    return load_config(
        args.config,
        args.cfg_options,
        work_dir=args.work_dir,
        seed=args.seed,
        launcher=args.launcher,
    )


def json_path(args: argparse.Namespace, cfg: Config, name: str) -> Path:
    """Return the JSON file to write: `--file`, else a name in the work dir.

    Raises:
        ValueError: it has another suffix.
    """
    path = Path(args.file) if args.file else Path(cfg.work_dir) / name
    if path.suffix != ".json":
        raise ValueError(f"--file must be a .json file, got {path}")
    return path
