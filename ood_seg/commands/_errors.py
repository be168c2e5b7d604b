"""Turns errors that the user can correct into one readable message."""

from __future__ import annotations

import os
import re
import sys
import traceback
from pathlib import Path

from ood_seg.commands._config_errors import config_mistake

_PACKAGE = Path(__file__).resolve().parents[1]
# Optional import name -> the extra that brings it.
_EXTRAS = {
    **dict.fromkeys(("mmengine", "mmcv", "mmseg", "pycocotools", "scipy"), "mmseg"),
    **dict.fromkeys(("torch", "matplotlib", "PIL", "rich", "jinja2"), "evaluate"),
    **dict.fromkeys(("onnx", "onnxscript"), "export"),
    "onnxruntime": "deploy",
    "openvino": "openvino",
    **dict.fromkeys(("fastapi", "uvicorn", "multipart", "prometheus_client"), "serve"),
    "rosbags": "bags",
    "skimage": "refine",
    "shtab": "completion",
}
# All that the extra `evaluate` is for; the other commands need that of `mmseg`, which holds it.
_WITHOUT_MMSEG = ("calibrate", "check-data", "configs", "evaluate", "prepare-data")
_WORKER_FRAME = re.compile(r'^\s*File "(?P<file>[^"]+)", line \d+', re.MULTILINE)


def report(error: BaseException, *, program: str, debug: bool = False) -> int:
    """Print one message for an expected error and return the exit code, else raise it again.

    Expected are: errors of the operating system (files that do not exist or cannot be read or
    written, a full disk), `ValueError` raised by this package (in a worker of a data loader as
    well), a config from which an object cannot be built, a missing optional dependency, and
    Ctrl-C. With `debug`, with `OOD_SEG_DEBUG=1`, and in a distributed run every error keeps its
    traceback.
    """
    wanted = debug or os.environ.get("OOD_SEG_DEBUG", "0") not in ("", "0")
    message = expected_message(error, command=program.rpartition(" ")[2])
    if message is None or wanted or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise error
    print(f"{program}: {message}", file=sys.stderr)
    if isinstance(error, KeyboardInterrupt):
        return 130
    print("(--debug shows where this was raised)", file=sys.stderr)
    return 2


def expected_message(error: BaseException, command: str = "") -> str | None:
    """Return the message of an error that the user can correct, None for any other."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, ImportError) and error.name:
        missing = error.name.partition(".")[0]
        if missing == "cv2":
            return f"{error}. Install OpenCV: pip install opencv-python (or -headless)"
        if missing in _EXTRAS:
            extra = _EXTRAS[missing]
            if extra == "evaluate" and command not in _WITHOUT_MMSEG:
                extra = "mmseg"
            hint = "; `ood-seg check-env` checks an installation" if extra == "mmseg" else ""
            return f"{error}. This command needs it: pip install 'ood-seg[{extra}]'{hint}"
    if isinstance(error, OSError) and error.errno is not None:
        return str(error)
    if not _raised_here(error) and (message := config_mistake(error)) is not None:
        return message
    if not isinstance(error, (ValueError, OSError)):
        return None
    from_worker = _message_from_worker(str(error))
    if from_worker is not None:
        return from_worker
    if isinstance(error, FileNotFoundError) or _raised_here(error):
        return str(error)
    return None


def _raised_here(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and _is_ours(frames[-1].filename)


def _is_ours(filename: str) -> bool:
    return _PACKAGE in Path(filename).resolve().parents


def _message_from_worker(text: str) -> str | None:
    """Extract the message from the traceback text of a worker's error."""
    head, mark, body = text.partition("Original Traceback (most recent call last):")
    if not mark or not head.startswith("Caught "):
        return None
    frames = list(_WORKER_FRAME.finditer(body))
    if not frames or not _is_ours(frames[-1]["file"]):
        return None
    found = re.search(r"^(?:\w+\.)*\w+(?:Error|Exception): ", body[frames[-1].end() :], re.M)
    return body[frames[-1].end() :][found.end() :].strip() if found else None
