"""One line of JSON for each picture, once, whatever is killed in between.

```
results.jsonl                  one process writes it itself
results.part-2-of-4.jsonl      each of several writes its own; the last to end merges them
.results.jsonl.lock            who reads or merges; removed by the last one
```

A line stands for a picture that is done: it is written in one piece after the picture's files. A
line that was cut off by a kill has no end and counts as none. Runs that follow read all files,
also those of another number of processes, and leave out what is done; failures are tried again.
Merging drops what comes twice, which is how a kill between the two steps of merging is healed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ood_seg.perception.core.types import Failure
from ood_seg.perception.io.name_set import NameSet
from ood_seg.perception.io.shards import Shard

try:
    import fcntl
except ImportError:  # Windows: no locks, and so no merging by itself
    fcntl = None

FAILURE_SCHEMA = "ood_seg.failure/1"
_ALONE = Shard()


class JsonLines:
    """Appends records to the file of this process.

    Args:
        path: the file that all results end up in.
        shard: this process.
        resume: go on with existing files; else they must not be there.
        replace: existing files give way to the first record, so that a run that fails before it
            takes nothing away; for one process alone.

    Attributes:
        done: names of this process's pictures that have a result already.

    Raises:
        ValueError: files exist, to be neither resumed nor replaced; another process writes the
            same file; several processes are to replace one.
    """

    def __init__(
        self,
        path: str | Path,
        shard: Shard = _ALONE,
        *,
        resume: bool = False,
        replace: bool = False,
    ) -> None:
        self.path = Path(path)
        self._shard, self._resumed, self._replaces = shard, resume, replace
        self._own = self.path if shard.world == 1 else _part(self.path, shard)
        if replace and shard.world > 1:
            raise ValueError(
                f"{shard.world} processes cannot agree on who replaces {path}; remove it and its "
                "parts first"
            )
        if not (resume or replace):
            self._check_new()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.done = NameSet()
        alone = shard.world == 1
        # Nobody merges, and so removes files, while they are read and the own one is opened.
        with _locked(self.path, exclusive=alone):
            if alone and resume and not _merge(self.path, keep_failures=False):
                raise ValueError(f"{self.path} or a part of it is being written by another process")
            for record, _ in () if replace else _records([self.path, *_parts(self.path)]):
                if "error" not in record and shard.owns(record["name"]):
                    self.done.add(record["name"])
            self._stream = _opened(self._own)

    def _check_new(self) -> None:
        others = [part for part in _parts(self.path) if not _is_of(part, self._shard)]
        existing = [p for p in (self.path, self._own, *others) if p.exists()]
        if existing:
            raise ValueError(
                f"{existing[0]} exists; go on with it (--resume), remove it, or give another name"
            )

    def write(self, record: dict[str, Any]) -> bool:
        """Write a result, as `AnomalyResult.to_dict` gives it; False if its name is done."""
        if not self.done.add(record["name"]):
            return False
        self._append(record)
        return True

    def write_failure(self, failure: Failure) -> None:
        """Note a picture that could not be used; a later run tries it again."""
        record = {"schema": FAILURE_SCHEMA, "name": failure.name, "index": failure.index}
        self._append({**record, "error": failure.message})

    def _append(self, record: dict[str, Any]) -> None:
        if self._replaces:
            self._stream.truncate(0)
            for part in _parts(self.path):
                part.unlink()
            self._replaces = False
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        if self._stream.write(line) != len(line):
            raise OSError(f"{self._own}: only part of a line could be written; is the disk full?")

    def close(self) -> bool:
        """Close the file, and merge all if no other process writes any more.

        Returns:
            Whether `path` now holds what all processes have written so far.
        """
        if self._stream.closed:
            return False
        os.fsync(self._stream.fileno())
        self._stream.close()
        if self._shard.world == 1:
            if not self._resumed and not self._own.stat().st_size:
                self._own.unlink()  # a run that failed at once must not stop the next one
            return True
        with _locked(self.path, exclusive=True) as locked:
            # A process that has not begun must not find the merged file of its own run.
            begun = sum(_is_of(part, self._shard) for part in _parts(self.path))
            complete = self._resumed or begun == self._shard.world
            return locked and complete and _merge(self.path, keep_failures=True)


def _part(path: Path, shard: Shard) -> Path:
    return path.with_name(f"{path.stem}.part-{shard.rank}-of-{shard.world}{path.suffix}")


def _parts(path: Path) -> list[Path]:
    """Files of single processes of this and earlier runs."""
    return sorted(path.parent.glob(f"{_escaped(path.stem)}.part-*-of-*{path.suffix}"))


def _is_of(part: Path, shard: Shard) -> bool:
    """Whether it belongs to a run with as many processes."""
    return part.stem.endswith(f"-of-{shard.world}")


def _escaped(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _records(paths: Iterable[Path]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Whole lines of files and what they say; lines that are cut off or damaged are left out."""
    for path in paths:
        if not path.exists():
            continue
        with path.open("rb") as lines:
            for line in lines:
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    if line.endswith(b"\n") and isinstance(record, dict) and "name" in record:
                        yield record, line


def _merge(path: Path, *, keep_failures: bool) -> bool:
    """Bring all files together in `path`; False if one is still being written."""
    parts = _parts(path)
    with contextlib.ExitStack() as stack:
        for file in [path, *parts]:
            if file.exists():
                stream = stack.enter_context(file.open("rb"))
                if not _lock(stream, wait=False):
                    return False
        written = NameSet()
        merged = path.with_name(f".{path.name}.merged")
        with merged.open("wb") as target:
            for record, line in _records([path, *parts]):
                if "error" not in record and written.add(record["name"]):
                    target.write(line)
            for record, line in _records([path, *parts] if keep_failures else []):
                if "error" in record and written.add(record["name"]):
                    target.write(line)
            target.flush()
            os.fsync(target.fileno())
        os.replace(merged, path)
        for part in parts:
            part.unlink()
    return True


def _opened(path: Path) -> BinaryIO:
    """The file, to be appended to, without a last line that was cut off.

    Raises:
        ValueError: another process writes it.
    """
    stream = path.open("ab+", buffering=0)
    if not _lock(stream, wait=False):
        stream.close()
        raise ValueError(f"{path} is being written by another process; was this one started twice?")
    stream.truncate(_end_of_lines(stream))
    return stream


def _end_of_lines(stream: BinaryIO, step: int = 1 << 16) -> int:
    """Position behind the last line that has an end."""
    end = stream.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - step)
        stream.seek(begin)
        found = stream.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


@contextlib.contextmanager
def _locked(path: Path, *, exclusive: bool) -> Iterator[bool]:
    """Hold the lock of all files of `path`; gives False where locks do not exist."""
    file = path.with_name(f".{path.name}.lock")
    with contextlib.ExitStack() as stack:
        while True:
            stream = stack.enter_context(file.open("ab"))
            locked = _lock(stream, wait=True, exclusive=exclusive)
            if not locked or _is_open(file, stream):
                break
            # Who held it while this one waited has removed it: it locks nothing any more.
        try:
            yield locked
        finally:
            if locked and exclusive:
                file.unlink(missing_ok=True)


def _is_open(path: Path, stream: BinaryIO) -> bool:
    """Whether the stream is of the file that has this path now."""
    try:
        return os.path.samestat(path.stat(), os.fstat(stream.fileno()))
    except FileNotFoundError:
        return False


def _lock(stream: BinaryIO, *, wait: bool, exclusive: bool = True) -> bool:
    """Lock a file until it is closed, or its process ends in whatever way."""
    if fcntl is None:
        return not wait
    mode = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(stream, mode)
    except BlockingIOError:
        return False
    except OSError:  # a network file system without locks
        return not wait
    return True
