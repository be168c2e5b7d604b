"""Conversion of published checkpoint files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import ood_seg
from ood_seg.checkpoints import check_matches, load_checkpoint, save_checkpoint
from ood_seg.config_files import load_config
from ood_seg.io.provenance import file_sha256
from ood_seg.models.layouts import Conversion, convert_checkpoint

_SHOWN_KEYS = 5

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import nn


def convert_file(
    source: str | Path,
    target: str | Path,
    config: str | Path | Config | None = None,
    *,
    overwrite: bool = False,
    report: Callable[[str], Any] = lambda line: None,
) -> Conversion:
    """Convert a published checkpoint, compare it with the model of a config, and write it.

    Args:
        source: checkpoint as published.
        target: file to write; it appears complete or not at all.
        config: config that the converted weights must fit; None: the shipped one of the
            recognised layout.
        overwrite: replace the target if it exists.
        report: called with a line of text before each slow step.

    Returns:
        The converted weights, with what was renamed, added and left out.

    Raises:
        FileNotFoundError: source or config does not exist.
        ValueError: the target may not be written, the source is unsafe, damaged or of no known
            layout, or its weights do not fit the config.
    """
    source, target = Path(source).expanduser(), Path(target).expanduser()
    check_target(source, target, overwrite=overwrite)
    report(f"reading {source}")
    conversion = convert_checkpoint(load_checkpoint(source), origin=str(source))
    report("comparing with the model of the config")
    model = model_without_weights(config or conversion.config(origin=str(source)))
    _require_complete(model, conversion, origin=str(source))
    check_matches(model, conversion.state_dict, origin=str(source))
    meta = {
        "origin_layout": conversion.layout.name,
        "source": source.name,
        "source_sha256": file_sha256(source),
        "num_channels": conversion.num_channels,
        "dropped": list(conversion.dropped),
        "added": list(conversion.added),
        "ood_seg_version": ood_seg.__version__,
    }
    report(f"writing {target}")
    save_checkpoint(target, {"state_dict": conversion.state_dict, "meta": meta})
    return conversion


def _require_complete(model: nn.Module, conversion: Conversion, *, origin: str) -> None:
    """Raise if a converted checkpoint lacks weights and has no others in their place.

    Raises:
        ValueError: with the layout and the first of the missing weights.
    """
    own = model.state_dict()
    for key, value in conversion.state_dict.items():
        if key not in own or own[key].shape != value.shape:
            return  # of another network, which `check_matches` describes
    missing = [
        key
        for key in own
        if key not in conversion.state_dict and not key.endswith("num_batches_tracked")
    ]
    if missing:
        rest = ", ..." if len(missing) > _SHOWN_KEYS else ""
        raise ValueError(
            f"{origin} has the layout of {conversion.layout.title}, but lacks {len(missing)} of "
            f"its {len(own)} weights: {', '.join(missing[:_SHOWN_KEYS])}{rest}; it may be "
            "truncated, or saved in part: download or save it again"
        )


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


def model_without_weights(config: str | Path | Config) -> nn.Module:
    """Build the model of a config without memory for its weights: only names and shapes."""
    cfg = load_config(config)
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    init_default_scope("mmseg")
    cfg.model.pop("distillation", None)  # would load another checkpoint
    with torch.device("meta"):
        return MODELS.build(cfg.model)
