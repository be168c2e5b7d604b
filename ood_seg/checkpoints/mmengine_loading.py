"""Loading as mmengine does it, led through the checks of this package."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

import torch

from ood_seg.checkpoints.allowed_types import safe_globals
from ood_seg.checkpoints.files import load_checkpoint

_FORCE_SAFE, _FORCE_UNSAFE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def secure_loading() -> None:
    """Make every `torch.load` of this process refuse pickled code; may be called repeatedly.

    mmengine's own loading, of `load_from`, `init_cfg` and a resumed run, of files and of URLs,
    then goes through `load_checkpoint`.
    """
    os.environ[_FORCE_SAFE] = "1"
    os.environ.pop(_FORCE_UNSAFE, None)
    torch.serialization.add_safe_globals(safe_globals())
    try:
        from mmengine.runner import checkpoint
    except ImportError:
        return
    if hasattr(checkpoint, "get_torch_safe_globals"):
        checkpoint.get_torch_safe_globals = safe_globals
    loader = checkpoint.CheckpointLoader
    loader.register_scheme(prefixes="", loader=load_from_local, force=True)
    checkpoint.load_url = load_from_url


def load_from_local(filename: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """`load_checkpoint` as mmengine calls it; its log shows the end of this name."""
    return load_checkpoint(filename, map_location)


def load_from_url(
    url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
) -> dict[str, Any]:
    """Load a checkpoint from a URL, by way of a file in torch's cache; as mmengine calls it.

    Args:
        url: address of the file.
        model_dir: folder of the cache; None: torch's own.
        map_location: see `load_checkpoint`; None: where the tensors were saved.
        progress: show a bar while downloading.

    Raises:
        ValueError: see `load_checkpoint`.
    """
    folder = Path(model_dir or Path(torch.hub.get_dir(), "checkpoints"))
    file = folder / PurePosixPath(urlparse(url).path).name
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), progress=progress)
    return load_checkpoint(file, map_location)
