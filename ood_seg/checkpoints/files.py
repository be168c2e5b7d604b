"""Files of checkpoints: loaded safely and whole, written atomically."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from ood_seg.checkpoints.allowed_types import allowing, safe_globals
from ood_seg.io.checksums import verify_checksums
from ood_seg.io.files import atomic_path

_ALWAYS_ALLOWED = 1 << 32  # bytes of a tensor, however small its file


def load_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Load a checkpoint file as data, after a check of its checksums.

    Files of torch before 1.6 (no zip archives) carry no checksums; damage inside their tensors
    cannot be seen.

    Args:
        path: of the file.
        map_location: device of the tensors, as for `torch.load`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is no checkpoint, is damaged, holds pickled code, or a tensor of more
            than 4 GiB that is larger than the file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(
            f"checkpoint {path} does not exist; give the path of a .pth file (in the shipped "
            "configs, data roots start with $OOD_SEG_DATA, by default `data`)"
        )
    if _head(path) == b"PK":
        verify_checksums(path)
    try:
        with allowing(safe_globals()):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except UnpicklingError as error:
        raise ValueError(_explain_refusal(path, str(error))) from error
    except Exception as error:  # data of a hostile or damaged file can raise anything in torch
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(
            f"{path} is not a readable checkpoint ({reason}); it may be truncated: "
            "download or save it again"
        ) from error
    if not isinstance(checkpoint, Mapping):
        raise ValueError(
            f"{path} holds a {type(checkpoint).__name__}, expected a dict of weights; save "
            "`model.state_dict()` instead of the model"
        )
    _check_sizes(checkpoint, path)
    for entry in ("meta", "state_dict"):
        if not isinstance(checkpoint.get(entry, {}), Mapping):
            kind = type(checkpoint[entry]).__name__
            raise ValueError(f"{path}: its entry {entry} is a {kind}, expected a dict")
    return dict(checkpoint)


def _check_sizes(content: Any, path: Path) -> None:
    """Raise if a tensor is absurdly large: by a stride of 0, a few bytes can claim any shape."""
    limit = max(path.stat().st_size, _ALWAYS_ALLOWED)
    seen: set[int] = set()
    waiting: list[tuple[str, Any]] = [("", content)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, Tensor):
            if value.numel() * value.element_size() > limit:
                raise ValueError(
                    f"{path} is damaged or hostile: {name.lstrip('/')} claims shape "
                    f"{tuple(value.shape)} in a file of {path.stat().st_size} bytes"
                )
        elif isinstance(value, (Mapping, list, tuple)) and id(value) not in seen:
            seen.add(id(value))  # a pickle may hold itself
            items = value.items() if isinstance(value, Mapping) else enumerate(value)
            waiting += [(f"{name}/{key}", item) for key, item in items]


def _explain_refusal(path: Path, reason: str) -> str:
    if not _looks_pickled(path):
        return f"{path} is not a checkpoint of torch; give a .pth file written by `torch.save`"
    found = re.search(r"GLOBAL (\S+)", reason)
    what = f" ({found.group(1)})" if found else ""
    return (
        f"{path} was refused: it holds pickled code{what}, which could do anything on this "
        "machine. If you trust its origin, load it once where it was made and save only "
        "`model.state_dict()`"
    )


def _looks_pickled(path: Path) -> bool:
    # Zip archives are what torch writes; bare pickles with a protocol byte are its old format.
    return _head(path) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(2)


def save_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Save a checkpoint; the file appears complete or not at all, equal for equal content.

    Raises:
        OSError: the file cannot be written, as on a full disk.
    """
    # Given a path, torch would store the name of the unfinished file, which is random.
    with atomic_path(Path(path)) as unfinished, unfinished.open("wb") as file:
        try:
            torch.save(dict(content), file)
        except RuntimeError as error:
            cause = error.__context__
            if isinstance(cause, OSError):  # torch hides it behind a message of its own
                raise OSError(cause.errno, cause.strerror, str(path)) from error
            raise


def is_local(source: str) -> bool:
    """Whether a checkpoint is a file here, not a URL or a name like `torchvision://`."""
    return "://" not in source
