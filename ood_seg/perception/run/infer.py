"""`infer`: analyse images, folders, videos or cameras, and write the results.

```
sources -> open_frames, without what is done -> Segmentor -> files of each image, video
                                                          -> a line of JSON, last
```
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ood_seg.io.images import MAX_PIXELS
from ood_seg.perception.core.errors import ends_run, ends_writing, error_text
from ood_seg.perception.core.result import AnomalyResult, ScoreRange
from ood_seg.perception.core.temporal import TemporalFilter
from ood_seg.perception.core.tracking import InstanceTracker
from ood_seg.perception.core.types import Failure
from ood_seg.perception.io.frames import open_frames, suffix_counts
from ood_seg.perception.io.json_lines import JsonLines
from ood_seg.perception.io.shards import SINGLE_PROCESS, Shard
from ood_seg.perception.io.sinks import FolderSink, VideoSink
from ood_seg.perception.run.outputs import (
    check_arguments,
    check_outputs,
    make_folder,
    open_folder,
    open_lines,
    open_video,
)
from ood_seg.perception.run.segmentor import Segmentor
from ood_seg.perception.run.stream import Analysis, Outcomes, analyse
from ood_seg.progress import progress

RESULTS_FILE = "results.jsonl"


@dataclass
class InferenceSummary:
    """Counts of a run of `infer`.

    Attributes:
        outputs: folder and files of the results.
        total: images to analyse; None if unknown.
        written: images whose outputs are all written.
        failed: images that could not be used.
        failed_before: images that a resumed run leaves out because they failed in an earlier one.
        dropped: frames of a live source that were replaced by newer ones.
        left_out: images that are not in the video, whose rate is lower than theirs.
        interrupted: whether Ctrl-C or SIGTERM ended the run.
    """

    outputs: tuple[str, ...]
    total: int | None
    written: int = 0
    failed: int = 0
    failed_before: int = 0
    dropped: int = 0
    left_out: int = 0
    interrupted: bool = False

    def __str__(self) -> str:
        before = (
            f"; {self.failed_before} failed in an earlier run (--retry-failed tries them again)"
            if self.failed_before
            else ""
        )
        if self.total == 0:
            return f"nothing to do: all {'other ' if before else ''}images have a result{before}"
        of_all = "" if self.total is None else f" of {self.total}"
        dropped = f"; {self.dropped} frames dropped for newer ones" if self.dropped else ""
        interrupted = "; interrupted before the end" if self.interrupted else ""
        left_out = f"; {self.left_out} are not in the video of lower rate" if self.left_out else ""
        outputs = ", ".join(self.outputs)
        rest = f"{interrupted}{dropped}{left_out}{before}"
        return f"{self.written}{of_all} images written to {outputs}{rest}"


def infer(
    sources: Any,
    segmentor: Segmentor | Callable[[], Segmentor],
    *,
    out: str | Path | None = None,
    save: Sequence[str] = ("overlay",),
    json: str | Path | None = None,
    video_out: str | Path | None = None,
    video_rate: float | None = None,
    limits: ScoreRange | None = None,
    style: str | None = None,
    existing: str = "refuse",
    retry_failed: bool = False,
    batch_size: int = 1,
    temporal: TemporalFilter | None = None,
    tracker: InstanceTracker | None = None,
    max_pixels: float = MAX_PIXELS,
    shard: Shard = SINGLE_PROCESS,
) -> InferenceSummary:
    """Analyse the images of a source and write the results; `ood-seg infer` from Python.

    An image that cannot be used, whatever error it raises, is reported on standard error and
    counted; the others are not affected. The run ends early where no further image can be analysed
    or written: a full disk, a lost GPU. Ctrl-C, and SIGTERM in the main thread, end it with all
    files finished.

    Args:
        sources: see `frames.open_frames`; outputs are named after the images.
        segmentor: the model, or a function that loads it, called once all other arguments have
            been checked.
        out: folder of the files `save`.
        save: kinds of files, see `FolderSink`.
        json: file with a line per image (`AnomalyResult.to_dict`), see `JsonLines`.
        video_out: the overlays as a video, see `VideoSink`.
        video_rate: its images per second, at which images that are too close to each other are left
            out; by default all are written, at the rate of the source as far as that is possible.
        limits: scores at the ends of the colours, see `AnomalyResult.overlay`.
        style: of the overlays, see there.
        existing: what to do about existing outputs: `refuse` to start; `overwrite` them; `skip`
            images whose files all exist; or `resume` a run that has ended early, which leaves out
            the images with a result or a failure in `json` (by default `out/results.jsonl`).
        retry_failed: with `resume`, analyse the images with a failure again.
        batch_size: images predicted together, where sizes are equal.
        temporal: filters the scores of a video.
        tracker: numbers the instances of a video.
        max_pixels: larger images are not used.
        shard: this process, if several share the work.

    Raises:
        FileNotFoundError: a source does not exist.
        ValueError: arguments that do not fit together or do not fit the model, outputs that exist
            or cannot be written, a source that cannot be read, or a GPU that is lost.
    """
    check_arguments(out, json, video_out, existing, max_pixels, shard)
    if retry_failed and existing != "resume":
        raise ValueError("--retry-failed: only a resumed run leaves out failures; add --resume")
    if video_rate is not None and not video_out:
        raise ValueError("--video-rate is that of a video; give --video-out FILE")
    folder = None if out is None else open_folder(out, save, limits, existing, style)
    if json is None and existing == "resume" and out is not None:
        json = Path(out) / RESULTS_FILE
    with sigterm_as_interrupt(), contextlib.ExitStack() as stack:
        lines = None
        if json is not None:
            opened = open_lines(json, shard, existing, retry_failed=retry_failed)
            lines = stack.enter_context(contextlib.closing(opened))
        done, failed = (lines.done, lines.failed) if lines else ((), ())

        def wanted(name: str) -> bool:
            mine = shard.owns(name) and name not in done and name not in failed
            return mine and (folder is None or folder.wants(name))

        frames = open_frames(sources, wanted=wanted, skip=out, max_pixels=int(max_pixels))
        if frames.live:
            stack.callback(frames.close)  # releases the camera if the model cannot be loaded
        files = (out, lines and lines.own, video_out)
        outputs = tuple(str(path) for path in files if path is not None)
        summary = InferenceSummary(outputs, frames.count, failed_before=len(failed))
        if frames.other_files and shard.rank == 0:
            counts = suffix_counts(frames.other_files)
            print(f"ood-seg infer: files that are not read as images: {counts}", file=sys.stderr)
        if folder is not None:
            folder.check()
        if summary.total == 0:
            return summary
        if folder is not None:
            # A resumed run has claimed its lines, so no other process is at work on it.
            make_folder(folder.folder, tidy=existing == "resume" and shard.world == 1)
        video = None
        if video_out is not None:
            video = open_video(video_out, video_rate, frames.rate, limits, existing, style)
            stack.callback(video.close, complete=False)  # if it is not reached by the images
        model = segmentor if isinstance(segmentor, Segmentor) else segmentor()
        check_outputs(model, save if out else (), tracker, style)
        if folder is not None:
            folder.write_origin(model.map_origin(), replace=existing == "overwrite")
        if frames.single and temporal is None and tracker is None:
            _write_all(model.outcomes(frames), folder, video, lines, summary)
            return summary
        outcomes = analyse(model, frames, batch_size=batch_size, temporal=temporal, tracker=tracker)
        _write_all(outcomes, folder, video, lines, summary)
        summary.dropped = outcomes.dropped
        return summary


def _write_all(
    outcomes: Analysis | Outcomes,
    folder: FolderSink | None,
    video: VideoSink | None,
    lines: JsonLines | None,
    summary: InferenceSummary,
) -> None:
    """Write all outcomes and count them; Ctrl-C ends it early."""
    sinks = [sink for sink in (folder, video) if sink is not None]
    bar = progress("infer", summary.total, enabled=summary.total != 1)
    complete = False
    try:
        with contextlib.closing(outcomes), bar as advance:
            for outcome in outcomes:
                _write(outcome, sinks, lines, summary)
                advance()
        complete = True
    except KeyboardInterrupt:
        summary.interrupted = True
    except Exception as error:
        if isinstance(error, ImportError) or not ends_run(error):
            raise
        raise ValueError(
            f"no further image can be analysed: {error_text(error)}; after {summary.written} images"
        ) from error
    finally:
        if video is not None:
            summary.left_out = video.left_out
            video.close(complete=complete)


def _write(
    outcome: AnomalyResult | Failure,
    sinks: Sequence[FolderSink | VideoSink],
    lines: JsonLines | None,
    summary: InferenceSummary,
) -> None:
    try:
        if isinstance(outcome, AnomalyResult):
            outcome = _in_files(outcome, sinks)
        if isinstance(outcome, Failure):
            summary.failed += 1
            print(f"ood-seg infer: {outcome}", file=sys.stderr)
            if lines is not None:
                lines.write_failure(outcome)
            return
        if lines is not None:
            lines.write(outcome.to_dict())
    except OSError as error:
        raise ValueError(f"cannot write: {error}") from error
    summary.written += 1


def _in_files(
    result: AnomalyResult, sinks: Sequence[FolderSink | VideoSink]
) -> AnomalyResult | Failure:
    """The result, once its files are written; a failure if only this image cannot be written."""
    try:
        for sink in sinks:
            sink.write(result)
    except Exception as error:  # such as a name that is too long, or a MemoryError
        if ends_writing(error) or ends_run(error):
            raise
        return Failure.of(error, result.name, result.index)
    return result


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """SIGTERM, which schedulers and containers send, raises KeyboardInterrupt as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread receives signals
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
