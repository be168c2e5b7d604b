"""Which pictures `infer` works on, decided before anything is computed, and where results go."""

from __future__ import annotations

import argparse
from collections.abc import Container
from pathlib import Path

from ood_seg.perception.io.frames import is_one_video
from ood_seg.perception.io.json_lines import JsonLines
from ood_seg.perception.io.shards import Shard
from ood_seg.perception.io.sinks import FolderSink, ScoreRange, existing_message

_SHOWN = 6
_RESULTS = "results.jsonl"


class Selection:
    """Says of each name whether it is to be done, and remembers files that are in the way.

    Args:
        shard: this process.
        done: names that have a result.
        files: that are written of each picture, or None.
        overwrite: files may be replaced.
        skip: pictures whose files all exist are left out.

    Attributes:
        in_the_way: number of files that exist, where neither is allowed.
    """

    def __init__(
        self,
        shard: Shard,
        done: Container[str],
        files: FolderSink | None,
        *,
        overwrite: bool,
        skip: bool,
    ) -> None:
        self._shard, self._done, self._files = shard, done, files
        self._overwrite, self._skip = overwrite, skip
        self.in_the_way = 0
        self._shown: list[Path] = []

    def __call__(self, name: str) -> bool:
        """Whether to work on the picture or video of that name."""
        if not self._shard.owns(name) or name in self._done:
            return False
        if self._files is None or self._overwrite:
            return True
        existing = self._files.existing(name)
        if self._skip:
            return len(existing) < len(self._files.kinds)
        existing += self._files.existing(f"{name}/000000")  # if it is a video, its first frame's
        self.in_the_way += len(existing)
        self._shown += existing[: _SHOWN - len(self._shown)]
        return True

    def check(self) -> None:
        """Refuse to begin where files are in the way.

        Raises:
            ValueError: names some of them, and what to do.
        """
        if self.in_the_way:
            raise ValueError(existing_message(self._shown, self.in_the_way))


def kinds_of_files(args: argparse.Namespace) -> list[str]:
    """Which files are written of each picture: those asked for, else the usual ones."""
    if args.out is None:
        return []
    # The figure takes matplotlib, and half a second: nothing for a torch-free install or a video.
    usual = "overlay" if args.onnx or any(map(is_one_video, args.sources)) else "anomaly"
    kinds = list(args.save or [usual])
    if args.save_scores:
        kinds.append("scores" if args.save_scores == "npy" else "scores-png")
    if args.calibration:
        kinds += ["probability", "mask"]
    return list(dict.fromkeys(kinds))


def open_folder(args: argparse.Namespace, limits: ScoreRange | None) -> FolderSink | None:
    """The files of each picture; None without --out."""
    kinds = kinds_of_files(args)
    if not kinds:
        return None
    if Path(args.out).exists() and not Path(args.out).is_dir():
        raise ValueError(f"--out {args.out}: expected a folder, got a file")
    # A picture without its line was cut off by a kill: its files are made again.
    options = {"overwrite": args.overwrite or args.resume, "skip": args.skip_existing}
    try:
        return FolderSink(args.out, kinds, limits=limits, **options)
    except OSError as error:
        raise ValueError(f"--out {args.out}: cannot be written ({error.strerror})") from error


def open_lines(args: argparse.Namespace, shard: Shard) -> JsonLines | None:
    """The lines of results, which are also what a run is resumed from.

    Raises:
        ValueError: they exist, or there is no place for them.
    """
    path = Path(args.json) if args.json else None
    if path is None and args.resume:
        path = Path(args.out) / _RESULTS
    if path is None:
        return None
    try:
        resume = args.resume or args.skip_existing
        return JsonLines(path, shard, resume=resume, replace=args.overwrite)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written ({error.strerror}); give a file in a folder that can"
        ) from error
