"""One line of JSON per image, written so that a killed run can be resumed.

```
results.jsonl                  of a single process
results.part-2-of-4.jsonl      of the third of four processes, which write one file each
```

A line is written after the files of its image. A resumed run reads all these files, also those of
another number of processes, and leaves out the images that have a result, and, with
`keep_failures`, those that have failed.
No image has two results in the files together; an image that failed first and succeeded in a later
run of another number of processes has both lines. A single process that is resumed moves the lines
of all parts into its own file.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ood_seg.io.files import atomic_path, claimed, require_unclaimed
from ood_seg.perception.core.types import Failure
from ood_seg.perception.io.shards import SINGLE_PROCESS, Shard

FAILURE_SCHEMA = "ood_seg.failure/1"


class JsonLines:
    """Appends records to the file of this process.

    Args:
        path: file of the results; several processes insert `.part-RANK-of-WORLD`.
        shard: this process.
        resume: continue existing files; otherwise they must not exist.
        keep_failures: with `resume`, keep the lines of failed images without a result, whose names
            are then in `failed`; otherwise they are removed.
        replace: the first record replaces existing files, so that a run that fails before it
            changes nothing; for a single process.

    Attributes:
        done: names of the images of this process that have a result.
        failed: names of those that have failed in an earlier run, with `keep_failures`.

    Raises:
        ValueError: files exist and are neither resumed nor replaced, several processes are to
            replace them, or a running process writes to one of them.
        OSError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        shard: Shard = SINGLE_PROCESS,
        *,
        resume: bool = False,
        keep_failures: bool = False,
        replace: bool = False,
    ) -> None:
        self.path = Path(path)
        self.own = self.path if shard.world == 1 else _part(self.path, shard)
        self.done: set[str] = set()
        self.failed: set[str] = set()
        self._keeps_failures = keep_failures
        self._replaces, self._resumes = replace, resume
        if replace and shard.world > 1:
            raise ValueError(
                f"{path} cannot be replaced by {shard.world} processes; remove it and its parts "
                "first"
            )
        with contextlib.ExitStack() as stack:
            stack.enter_context(claimed(self.own))
            if shard.world > 1:
                self._check_claims(shard)
            elif resume or replace:
                for part in self._claimed_parts():
                    stack.enter_context(claimed(part))
            if resume:
                self._resume(shard)
            elif not replace:
                self._check_new(shard)
            self._stream = stack.enter_context(self.own.open("ab", buffering=0))
            self._claims = stack.pop_all()

    def _check_claims(self, shard: Shard) -> None:
        """Refuse to run beside a single process, or beside another number of processes."""
        require_unclaimed(self.path)
        for part in self._claimed_parts():
            if not part.stem.endswith(f"-of-{shard.world}"):
                require_unclaimed(part)

    def _check_new(self, shard: Shard) -> None:
        siblings = f"-of-{shard.world}"
        others = [part for part in self._parts() if not part.stem.endswith(siblings)]
        for file in (self.path, self.own, *others):
            if file.exists():
                raise ValueError(
                    f"{file} exists; continue it (--resume), remove it, or give another name"
                )

    def _resume(self, shard: Shard) -> None:
        """Rewrite the own file, a whole line for each name; collect what is done."""
        parts = self._parts()
        kept = [self.path, *parts] if shard.world == 1 else [self.own]
        seen: set[str] = set()
        with atomic_path(self.own) as unfinished, unfinished.open("wb") as target:
            for failures in (False, True) if self._keeps_failures else (False,):
                for name, line in _records(kept, failures=failures):
                    if name not in seen:
                        seen.add(name)
                        target.write(line)
        if shard.world == 1:
            for part in parts:
                part.unlink()
        files = [self.path, *self._parts()]
        self.done = {name for name, _ in _records(files) if shard.owns(name)}
        if self._keeps_failures:
            failed = {name for name, _ in _records(files, failures=True) if shard.owns(name)}
            self.failed = failed - self.done

    def _parts(self) -> list[Path]:
        """Part files of this and of earlier runs."""
        name = f"{glob.escape(self.path.stem)}.part-*-of-*{glob.escape(self.path.suffix)}"
        return sorted(self.path.parent.glob(name))

    def _claimed_parts(self) -> list[Path]:
        """Part files that exist, or of which a claim is left of a killed process."""
        pattern = f".{glob.escape(self.path.stem)}.part-*-of-*{glob.escape(self.path.suffix)}.lock"
        left = {lock.name[1 : -len(".lock")] for lock in self.path.parent.glob(pattern)}
        names = left | {part.name for part in self._parts()}
        return [self.path.with_name(name) for name in sorted(names)]

    def write(self, record: dict[str, Any]) -> bool:
        """Write a result, as `AnomalyResult.to_dict` returns it; False if its name is done."""
        if record["name"] in self.done:
            return False
        self.done.add(record["name"])
        self._append(record)
        return True

    def write_failure(self, failure: Failure) -> None:
        """Write an image that could not be used, unless an earlier run has written it."""
        if failure.name in self.done or failure.name in self.failed:
            return
        record = {"schema": FAILURE_SCHEMA, "name": failure.name, "index": failure.index}
        self._append({**record, "error": failure.message})

    def _append(self, record: dict[str, Any]) -> None:
        if self._replaces:
            self._stream.truncate(0)
            for part in self._parts():
                part.unlink()
            self._replaces = False
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        if self._stream.write(line) != len(line):
            raise OSError(f"{self.own}: only part of a line could be written; is the disk full?")

    def close(self) -> None:
        """Close the file; remove it if a new run has written nothing."""
        if self._stream.closed:
            return
        with self._claims:
            os.fsync(self._stream.fileno())
            self._stream.close()
            if not self._resumes and not self.own.stat().st_size:
                self.own.unlink()


def _part(path: Path, shard: Shard) -> Path:
    return path.with_name(f"{path.stem}.part-{shard.rank}-of-{shard.world}{path.suffix}")


def _records(paths: Iterable[Path], *, failures: bool = False) -> Iterator[tuple[str, bytes]]:
    """Names and lines of the results, or of the failures, without damaged or incomplete lines."""
    for path in paths:
        with contextlib.suppress(FileNotFoundError), path.open("rb") as lines:
            for line in lines:
                record = None
                with contextlib.suppress(ValueError, RecursionError):
                    record = json.loads(line)
                if not line.endswith(b"\n") or not isinstance(record, dict):
                    continue
                if isinstance(record.get("name"), str) and ("error" in record) == failures:
                    yield record["name"], line
