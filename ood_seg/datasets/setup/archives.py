"""Listing zip archives, tar archives and folders from elsewhere; nothing is unpacked.

Every name is checked before any file is read: entries that could lead outside (absolute names,
`..`, links, devices) and archives that declare more bytes than expected are refused by name.
"""

from __future__ import annotations

import gzip
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ood_seg.datasets.layouts import stays_inside
from ood_seg.datasets.listing import shorten

# What reading a damaged archive raises.
ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    tarfile.TarError,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    NotImplementedError,
)
# No single image or overlay is as large as this.
_MAX_BYTES_IN_MEMORY = 1 << 28

_Open = Callable[[], IO[bytes]]
# Name, declared bytes, whether it is a regular file, and how to open it.
_Entry = tuple[str, int, bool, _Open]


@dataclass(frozen=True)
class Member:
    """A regular file of an archive or folder.

    Attributes:
        name: its path inside, with `/`.
        size: bytes that it declares.
        container: the archive or folder.
        open: opens it for reading, as long as the container is open.
    """

    name: str
    size: int
    container: Path
    open: _Open

    def __str__(self) -> str:
        return f"{self.container}:{self.name}"

    def read(self) -> bytes:
        """Return the content.

        Raises:
            ValueError: it declares more bytes than any image has.
        """
        if self.size > _MAX_BYTES_IN_MEMORY:
            raise ValueError(f"{self} declares {self.size} bytes, too many for one image")
        with self.open() as file:
            return file.read(_MAX_BYTES_IN_MEMORY)


def list_members(path: Path, stack: ExitStack, *, limit: float) -> tuple[list[Member], list[str]]:
    """List the regular files of a folder, a zip archive or a tar archive (also compressed).

    Files that systems leave behind (`__MACOSX/`, hidden ones) are skipped.

    Args:
        path: folder or archive.
        stack: closes the archive.
        limit: largest number of bytes that the files of an archive may declare together.

    Returns:
        The members, in the order in which they are read fastest, and the problems: refused
        entries and damage, each as a sentence.

    Raises:
        FileNotFoundError: there is no such file or folder.
        ValueError: it is neither a folder nor a complete archive.
    """
    entries = _entries(path, stack)
    members, refused, problems, total = [], [], [], 0
    try:
        for name, size, is_regular, open_file in entries:
            total += 0 if path.is_dir() else size
            if not stays_inside(name) or "\0" in name:
                refused.append(repr(name))
            elif "__MACOSX" in name or PurePosixPath(name).name.startswith("."):
                continue
            elif not is_regular:
                refused.append(repr(name))
            elif total > limit:
                problems.append(
                    f"{path} declares more than {limit / 1e9:.1f} GB up to {name!r}, more than "
                    "this dataset can have; refused"
                )
                break
            else:
                members.append(Member(PurePosixPath(name).as_posix(), size, path, open_file))
    except (*ARCHIVE_ERRORS, OSError) as error:
        problems.append(f"{path} is damaged ({error}); fetch it again")
    if refused:
        problems.append(
            f"{path}: {len(refused)} entries refused, which lead outside, are links or devices, or "
            f"are encrypted: {shorten(refused)}"
        )
    return members, problems


def leads_below(folder: Path, relative: str) -> bool:
    """Whether a path is below a folder, links on the way included."""
    parent = (folder / relative).parent
    return stays_inside(relative) and _real(parent).is_relative_to(_real(folder))


def _entries(path: Path, stack: ExitStack) -> Iterator[_Entry]:
    if path.is_dir():
        return _folder_entries(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} not found; give an archive or a folder")
    try:
        if zipfile.is_zipfile(path):
            return _zip_entries(stack.enter_context(zipfile.ZipFile(path)))
        if tarfile.is_tarfile(path):
            return _tar_entries(stack.enter_context(tarfile.open(path)))
        reason = "it has no directory of its files"
    except (*ARCHIVE_ERRORS, OSError) as error:
        reason = str(error)
    raise ValueError(
        f"{path} is neither a folder nor a complete zip or tar archive ({reason}); "
        "if its name is that of an archive, the download was cut off: fetch it again"
    )


def _folder_entries(folder: Path) -> Iterator[_Entry]:
    root = _real(folder)
    for path in sorted(root.rglob("*")):
        is_inside = not path.is_symlink() or _real(path).is_relative_to(root)
        # A folder inside is listed itself, so a link to it is not followed.
        if not (is_inside and path.is_dir()):
            is_regular = is_inside and path.is_file()
            size = path.stat().st_size if is_regular else 0
            open_file = cast("_Open", partial(path.open, "rb"))
            yield path.relative_to(root).as_posix(), size, is_regular, open_file


def _real(path: Path) -> Path:
    """The path without links; unlike `Path.resolve`, without an error for a link to itself."""
    return Path(os.path.realpath(path))


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[_Entry]:
    for info in archive.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        is_regular = kind in (0, stat.S_IFREG, stat.S_IFDIR) and not info.flag_bits & 1
        if not (is_regular and info.is_dir() and stays_inside(info.filename)):
            # Reading gives at most the declared bytes and compares their checksum.
            yield info.filename, info.file_size, is_regular, partial(archive.open, info)


def _tar_entries(archive: tarfile.TarFile) -> Iterator[_Entry]:
    for info in archive:
        if not (info.isdir() and stays_inside(info.name)):
            # Never None for a regular file.
            open_file = cast("_Open", partial(archive.extractfile, info))
            yield info.name, info.size, info.isreg(), open_file
