"""Atomic writes: a file appears complete or not at all, however the process ends.

`claimed` keeps a second process from writing the same file or folder.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import fcntl
except ImportError:  # Windows, where nothing is claimed
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import numpy as np

# Open lock files of the claims of this process.
_claims: set[int] = set()


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Context manager: a temporary path beside `path` that replaces it when the block succeeds.

    Parent folders are created. The hidden temporary name is random, so that concurrent processes
    do not interfere, on a shared file system either. The temporary file is removed after an
    error; only a killed process leaves it behind (see `remove_unfinished`). An `OSError` that names
    no file, such as that of a full disk, or the temporary one, names `path`.
    """
    _make_folder(path.parent)
    unfinished = unfinished_path(path)
    try:
        yield unfinished
        os.replace(unfinished, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(unfinished), unfinished):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        unfinished.unlink(missing_ok=True)


def require_writable(folder: Path) -> None:
    """Raise now if files cannot be created in a folder, which need not exist yet.

    Raises:
        OSError: the folder, or the deepest one above it that exists, is a file or not writable, or
            the name is not possible.
    """
    for path in (folder, *folder.parents):
        try:
            path.stat()
        except FileNotFoundError:
            continue
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
        if not os.access(path, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:  # says "File exists" of the file that should be a folder
        reason = os.strerror(errno.ENOTDIR)
        raise NotADirectoryError(errno.ENOTDIR, reason, str(folder)) from error


def require_writable_file(path: Path) -> None:
    """Raise now if a file cannot be written under this name; its folder need not exist yet.

    Raises:
        OSError: it is a folder, or as `require_writable`.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    require_writable(path.parent)


def unfinished_path(path: Path) -> Path:
    """A hidden, random name beside `path` for what is not finished."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")


def remove_unfinished(folder: Path, name: str = "*") -> None:
    """Remove what killed processes have left under the names of `unfinished_path`.

    Only for a process that has claimed these files, as those of running processes look the same.

    Args:
        folder: searched, without its subfolders.
        name: pattern (`glob`) of the finished files.
    """
    for path in folder.glob(f".{name}.{'[0-9a-f]' * 8}.part*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def claimed(path: Path, *, lock: Path | None = None) -> Iterator[None]:
    """Context manager: no other process can claim `path` before the block ends.

    The claim is a lock of an open file, so it ends with the process, however that ends; the file
    itself, with the owner in it, is removed at the end of the block and may stay after a kill. What
    killed processes have left of `atomic_path(path)` is removed. Parent folders are created.

    There are no claims on Windows and on file systems without locks: there the block is run as if
    the path were free.

    Args:
        path: a file or folder to be written; it need not exist.
        lock: the file to be locked; by default a hidden one beside `path`.

    Raises:
        ValueError: it is claimed, by another process or by this one; names the owner.
        OSError: the lock file cannot be written.
    """
    lock = _lock_beside(path) if lock is None else lock
    _make_folder(lock.parent)
    try:
        descriptor = _locked(lock)
    except BlockingIOError as error:
        raise ValueError(_refusal(path, lock)) from error
    if descriptor is None:
        yield
        return
    _claims.add(descriptor)
    try:
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": since}
        try:
            os.truncate(descriptor, 0)
            os.write(descriptor, json.dumps(owner).encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(lock)) from error
        remove_unfinished(path.parent, glob.escape(path.name))
        yield
    finally:
        if descriptor in _claims:  # not in a forked child
            _claims.remove(descriptor)
            lock.unlink(missing_ok=True)
            os.close(descriptor)


def require_unclaimed(path: Path) -> None:
    """Raise a ValueError that names the owner if `path` is claimed now, without claiming it."""
    lock = _lock_beside(path)
    if fcntl is None or not lock.exists():
        return
    with contextlib.suppress(FileNotFoundError), lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(_refusal(path, lock)) from error
        except OSError:  # a file system without locks
            return


def _lock_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _refusal(path: Path, lock: Path) -> str:
    return (
        f"{path} is being written by another process{_owner(lock)}; wait for its end, or give "
        "another name"
    )


def _locked(lock: Path) -> int | None:
    """The open and locked file; None where there are no locks.

    Raises:
        BlockingIOError: it is locked already.
    """
    if fcntl is None:
        return None
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # An owner that has just finished may have removed the file since it was opened here.
            if os.path.samestat(os.fstat(descriptor), os.stat(lock)):
                return descriptor
        except FileNotFoundError:
            pass
        except BlockingIOError:
            os.close(descriptor)
            raise
        except OSError:
            lock.unlink(missing_ok=True)
            os.close(descriptor)
            return None
        os.close(descriptor)


def _owner(lock: Path) -> str:
    try:
        owner = json.loads(lock.read_bytes())
        return f" ({owner['pid']} on {owner['host']}, since {owner['since']})"
    except (OSError, ValueError, KeyError, TypeError):  # it has just started or ended
        return ""


def _forget_claims() -> None:
    """End the claims of the parent in a forked child, which could outlive its parent."""
    for descriptor in _claims:
        os.close(descriptor)
    _claims.clear()


if fcntl is not None:
    os.register_at_fork(after_in_child=_forget_claims)


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file atomically and return its path.

    Raises:
        OSError: it cannot be written, as on a full disk; with the name of the file.
    """
    with atomic_path(path) as unfinished:
        try:
            unfinished.write_bytes(content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
    return path


def write_text(path: Path, text: str) -> Path:
    """Write a UTF-8 file atomically and return its path.

    Surrogate escapes, as in file names that are not UTF-8, are written as `\\udcXX`.
    """
    return write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_image(path: Path, image: np.ndarray) -> Path:
    """Write an image atomically in the format of the suffix, and return its path.

    Args:
        path: file to write.
        image: `(H, W)` grey or `(H, W, 3)` BGR, uint8 or, as PNG or TIFF, uint16.

    Raises:
        ValueError: OpenCV cannot write that format.
    """
    import cv2

    try:
        encoded = cv2.imencode(path.suffix, image)[1]
    except cv2.error as error:
        raise ValueError(
            f"{path}: images cannot be written as {path.suffix!r}; use .png or .jpg"
        ) from error
    return write_bytes(path, encoded.tobytes())
