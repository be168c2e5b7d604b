"""Convert a published checkpoint (NVIDIA, PEBAL, RPL, DenseHybrid, ERFNet, CGNet) for use here."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ood_seg
from ood_seg.config_files import resolve_config
from ood_seg.io.files import atomic_path

if TYPE_CHECKING:
    from torch import nn

    from ood_seg.checkpoint_layouts import Conversion


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `ood-seg convert-checkpoint`."""
    parser.add_argument("source", metavar="IN", help="checkpoint as published")
    parser.add_argument("target", metavar="OUT", help="file to write")
    parser.add_argument(
        "--config",
        help="config that the converted weights must fit; by default the shipped one of the "
        "recognised layout. A config is Python code and is executed: give only those you trust",
    )
    parser.add_argument(
        "--overwrite", "--force", action="store_true", help="replace OUT if it exists"
    )


def run(args: argparse.Namespace) -> int:
    """Recognise, rename, compare with the config's model, write, report."""
    from ood_seg.checkpoint_layouts import convert_checkpoint
    from ood_seg.checkpoints import check_matches, load_checkpoint
    from ood_seg.io.provenance import file_sha256

    source, target = Path(args.source).expanduser(), Path(args.target).expanduser()
    check_target(source, target, overwrite=args.overwrite)
    conversion = convert_checkpoint(load_checkpoint(source), origin=str(source))
    config = choose_config(conversion, args.config, origin=str(source))
    check_matches(model_without_weights(config), conversion.state_dict, origin=str(source))
    meta = {
        "origin_layout": conversion.layout.name,
        "source": source.name,
        "source_sha256": file_sha256(source),
        "num_channels": conversion.num_channels,
        "dropped": list(conversion.dropped),
        "added": list(conversion.added),
        "ood_seg_version": ood_seg.__version__,
    }
    write_checkpoint(target, {"state_dict": conversion.state_dict, "meta": meta})
    print_report(conversion, config, target)
    return 0


def check_target(source: Path, target: Path, *, overwrite: bool) -> None:
    """Raise unless the result may be written there.

    Raises:
        ValueError: the target exists and may not be replaced, is a folder, or is the source.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise ValueError(f"{target} is the checkpoint to be converted; give another name for OUT")
    if target.is_dir():
        raise ValueError(f"{target} is a folder; give the name of a file for OUT")
    if target.exists() and not overwrite:
        raise ValueError(f"{target} exists; give another name, or --overwrite to replace it")


def choose_config(conversion: Conversion, given: str | None, *, origin: str) -> str:
    """The config that the weights are compared with.

    Raises:
        ValueError: none is given and none is shipped for this number of output channels.
    """
    if given is not None:
        return given
    configs = conversion.layout.configs
    if conversion.num_channels not in configs:
        raise ValueError(
            f"{origin} is {conversion.layout.title} with {conversion.num_channels} output "
            f"channels; there are configs for {' and '.join(map(str, configs))}. For others write "
            f"one (`ood-seg configs --copy {next(iter(configs.values()))} mine.py`, "
            "decode_head.num_classes) and give it by --config"
        )
    return configs[conversion.num_channels]


def model_without_weights(config: str) -> nn.Module:
    """Build the model of a config without memory for its weights: it has names and shapes."""
    import torch

    from ood_seg.startup import prepare

    prepare()
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    import ood_seg.register  # noqa: F401

    cfg = Config.fromfile(resolve_config(config))
    init_default_scope("mmseg")
    cfg.model.pop("distillation", None)  # would be another checkpoint
    with torch.device("meta"):
        return MODELS.build(cfg.model)


def write_checkpoint(path: Path, content: Mapping[str, Any]) -> None:
    """Save a checkpoint; the file appears whole or not at all."""
    import torch

    # Of a path, torch would store the name, which is another one each time.
    with atomic_path(path) as unfinished, unfinished.open("wb") as file:
        torch.save(content, file)


def print_report(conversion: Conversion, config: str, target: Path) -> None:
    """Say what was recognised, kept and left out, and how to use the result."""
    from rich.console import Console
    from rich.markup import escape

    lines = {
        "recognised": f"{conversion.layout.title}, {conversion.num_channels} output channels",
        "converted": f"{len(conversion.state_dict)} tensors",
        "added": ", ".join(conversion.added),
        "left out": ", ".join(conversion.dropped) or "nothing",
        "written to": str(target),
        "use it": f"ood-seg test {config} {target}",
    }
    console = Console()
    for name, text in lines.items():
        if text:
            console.print(f"{name + ':':<12}{escape(text)}", soft_wrap=True, highlight=False)
