"""Where a result comes from: commit, versions of the packages, hashes of the files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import subprocess
from pathlib import Path

import ood_seg

_PACKAGES = (
    "torch",
    "numpy",
    "opencv-python",
    "onedl-mmengine",
    "onedl-mmcv",
    "onedl-mmsegmentation",
    "mmengine",
    "mmcv",
    "mmcv-lite",
    "mmsegmentation",
)


def git_commit() -> str | None:
    """Return the commit of the clone that this package runs from.

    Returns:
        40 hexadecimal digits, with the suffix `-dirty` if tracked files differ from it; None for
        an installed package, or where git does not answer.
    """
    root = Path(ood_seg.__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(
            ["git", "-C", str(root), *describe],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def versions() -> dict[str, str]:
    """Return the versions of this package and of the installed packages that affect its results."""
    found = {"ood-seg": ood_seg.__version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def file_sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def checkpoint_sha256(source: str | Path) -> str | None:
    """Return the SHA-256 of a checkpoint file; None for a URL and for a file that is not here."""
    path = Path(source).expanduser()
    return file_sha256(path) if path.is_file() else None
