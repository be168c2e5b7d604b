"""Reading zip and tar archives and folders of strangers: names are checked, nothing is unpacked.

`open_source` gives one interface to all three. Entries that could reach outside (absolute names,
`..`, links, devices) and archives that declare more bytes than a set can have are refused by
name; every name is looked at before any file is read.
"""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, ClassVar

from ood_seg.datasets.layouts import stays_inside
from ood_seg.datasets.listing import shorten

_NO_FILE = "no regular files"
# What reading a damaged archive raises.
ARCHIVE_ERRORS = (
    zipfile.BadZipFile,
    gzip.BadGzipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    NotImplementedError,
)


@dataclass(frozen=True)
class Member:
    """A regular file of a source: its path in it (with `/`), its declared bytes, its place."""

    name: str
    size: int
    source: Source
    position: int

    def __str__(self) -> str:
        return f"{self.source.path}:{self.name}"

    def open(self) -> IO[bytes]:
        """Open for reading; the caller closes it."""
        return self.source.open(self)


@dataclass
class Contents:
    """What a source holds, and what of it is refused or cannot be read, each a sentence."""

    members: list[Member] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Source:
    """A folder or an archive that files are read from."""

    # An archive can declare more than it holds; what lies on the disk is what it is.
    is_bounded: ClassVar[bool] = True

    def __init__(self, path: Path) -> None:
        self.path = path

    def contents(self, limit: int) -> Contents:
        """List the regular files.

        Args:
            limit: the most bytes that the files of an archive may declare together.
        """
        found, total = Contents(), 0
        refused: dict[str, list[str]] = {}
        try:
            for name, size, fault in self._entries():
                total += size
                if not stays_inside(name) or "\0" in name:
                    refused.setdefault("paths out of the folder", []).append(name)
                elif _is_litter(name):
                    continue
                elif fault:
                    refused.setdefault(fault, []).append(name)
                elif self.is_bounded and total > limit:
                    found.problems.append(
                        f"{self.path} declares more than {limit / 1e9:.1f} GB up to {name!r}, "
                        "more than this set can have; refused"
                    )
                    break
                else:
                    clean = PurePosixPath(name).as_posix()
                    found.members.append(Member(clean, size, self, len(found.members)))
        except (*ARCHIVE_ERRORS, OSError) as error:
            found.problems.append(f"{self.path} is damaged ({error}); fetch it again")
        found.problems += [
            f"{self.path}: {len(names)} entries refused, {fault}: {shorten(map(repr, names))}"
            for fault, names in refused.items()
        ]
        return found

    def _entries(self) -> Iterator[tuple[str, int, str]]:
        """Yield name, declared bytes, and what it is where it is no regular file."""
        raise NotImplementedError

    def open(self, member: Member) -> IO[bytes]:
        """Open a member for reading."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the archive."""


class _Folder(Source):
    is_bounded = False

    def _entries(self) -> Iterator[tuple[str, int, str]]:
        root = self.path.resolve()
        for folder, subfolders, names in os.walk(root):
            subfolders.sort()
            links = [name for name in subfolders if os.path.islink(os.path.join(folder, name))]
            for name in sorted(names) + links:
                path = Path(folder) / name
                shown = path.relative_to(root).as_posix()
                if path.is_symlink() and root not in path.resolve().parents:
                    yield shown, 0, "links that lead out (give the folder behind them)"
                    continue
                # A link to a folder inside: that folder is walked in its own place.
                status = path.stat() if path.exists() else None
                if status is None or not stat.S_ISDIR(status.st_mode):
                    is_file = status is not None and stat.S_ISREG(status.st_mode)
                    yield (
                        shown,
                        status.st_size if is_file else 0,
                        "" if is_file else "no regular files",
                    )

    def open(self, member: Member) -> IO[bytes]:
        return (self.path / member.name).open("rb")


class _Zip(Source):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._archive = zipfile.ZipFile(path)
        self._infos: dict[str, zipfile.ZipInfo] = {}

    def _entries(self) -> Iterator[tuple[str, int, str]]:
        for info in self._archive.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            fault = ""
            if mode == stat.S_IFLNK:
                fault = "links"
            elif mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                fault = "devices or the like"
            elif info.flag_bits & 1:
                fault = "encrypted"
            if info.is_dir() and not fault and stays_inside(info.filename):
                continue
            self._infos[PurePosixPath(info.filename).as_posix()] = info
            yield info.filename, info.file_size, fault

    def open(self, member: Member) -> IO[bytes]:
        # Gives at most the declared bytes and compares their checksum.
        return self._archive.open(self._infos[member.name])

    def close(self) -> None:
        self._archive.close()


class _Tar(Source):
    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._archive = tarfile.open(path)  # noqa: SIM115 - closed by `close`
        self._infos: dict[str, tarfile.TarInfo] = {}

    def _entries(self) -> Iterator[tuple[str, int, str]]:
        for info in self._archive:
            fault = ""
            if info.issym() or info.islnk():
                fault = "links"
            elif not (info.isreg() or info.isdir()):
                fault = "devices or the like"
            if info.isdir() and stays_inside(info.name):
                continue
            self._infos[PurePosixPath(info.name).as_posix()] = info
            yield info.name, info.size, fault

    def open(self, member: Member) -> IO[bytes]:
        return self._archive.extractfile(self._infos[member.name])

    def close(self) -> None:
        self._archive.close()


def open_source(path: str | Path) -> Source:
    """Open a folder, a zip archive or a tar archive (plain or compressed).

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is something else, or an archive that is cut off.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise FileNotFoundError(f"source {path} not found; give an archive or a folder")
    try:
        if zipfile.is_zipfile(path):
            return _Zip(path)
        if tarfile.is_tarfile(path):
            return _Tar(path)
        reason = "it has no directory of its files"
    except (*ARCHIVE_ERRORS, OSError) as error:
        reason = str(error)
    raise ValueError(
        f"source {path} is no folder and no whole zip or tar archive ({reason}); "
        "if its name says that it is one, it is cut off: fetch it again"
    )


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file under a hidden name and give it its own once it is whole.

    Folders are made. After an error inside the block nothing is left; after the end of the
    process a hidden `.NAME.part`, which the next run replaces.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.unlink(missing_ok=True)
    try:
        # "x": whatever stands at that name by now, a link above all, is not written through.
        with unfinished.open("xb") as file:
            yield file
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def place_below(folder: Path, relative: str) -> Path:
    """Where a file goes below a folder, not following links out of it.

    Raises:
        ValueError: the name is absolute or climbs, or a folder on the way is a link that leads out.
    """
    path = folder / relative
    root = folder.resolve()
    if not stays_inside(relative) or (path.parent.resolve() / "x").parts[: len(root.parts)] != (
        root.parts
    ):
        raise ValueError(
            f"{path} leads out of {folder}; nothing is written through links: give the real "
            "folder as --out"
        )
    return path


def _is_litter(name: str) -> bool:
    """Say whether a system left this file behind (`__MACOSX/`, `._x.png`, `.x.part`)."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith(".")
