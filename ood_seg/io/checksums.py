"""Checksums of zip archives, such as the checkpoints of torch."""

from __future__ import annotations

import zipfile
from pathlib import Path

_CHUNK = 1 << 20
_MARKED_AS_FOLDER = 0x10


def verify_checksums(path: Path) -> None:
    """Read a zip archive once and compare each entry with its stored CRC-32.

    `torch.load` compares none, so that a damaged weight would be loaded as it is. Entries must be
    stored uncompressed, as torch writes them: what is read is then no larger than the file. An
    archive whose checksums are all 0 was written without them, which torch allows; it passes.

    Raises:
        ValueError: an entry is damaged or compressed, with its name; or the archive's directory
            is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            has_checksums = any(entry.CRC for entry in entries)
            for entry in entries:
                if entry.compress_type != zipfile.ZIP_STORED:
                    raise ValueError(
                        f"{path}: entry {entry.filename!r} is compressed, which checkpoints of "
                        "torch never are; load it where it comes from and save it again"
                    )
                if has_checksums:
                    _read_through(archive, entry, path)
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, UnicodeError) as error:
        raise ValueError(
            f"{path} is not a readable checkpoint ({error}); it may be truncated or damaged: "
            "download or save it again"
        ) from error


def _read_through(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
    """Read one entry to its end, where its checksum is compared.

    Of another size it would not be read to its end. Marked as a folder it would be read here,
    but not by torch, which then returns memory as it finds it.
    """
    try:
        if entry.file_size != entry.compress_size or entry.external_attr & _MARKED_AS_FOLDER:
            raise zipfile.BadZipFile
        with archive.open(entry) as stream:
            while stream.read(_CHUNK):
                pass
    except (zipfile.BadZipFile, RuntimeError, EOFError, UnicodeError) as error:
        raise ValueError(
            f"{path} is damaged: entry {entry.filename!r} does not match its checksum or its "
            "place in the file; download it again, or take an earlier checkpoint"
        ) from error
