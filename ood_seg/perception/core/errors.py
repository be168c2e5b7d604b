"""Errors that concern one image, and errors after which no image can be analysed or written."""

from __future__ import annotations

import errno
import traceback

_MOST_CHARACTERS = 400
# Parts of the messages of CUDA after which its context is lost for the whole process. Errors of a
# single call, such as memory that does not suffice, are not among them.
_LOST_DEVICE = (
    "device-side assert",
    "illegal memory access",
    "illegal address",
    "illegal instruction",
    "misaligned address",
    "unspecified launch failure",
    "launch timed out",
    "uncorrectable ECC",
    "context is destroyed",
    "no kernel image is available",
    "driver shutting down",
)
# Other errors of writing, such as a name that is too long, concern one file.
_NO_MORE_FILES = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EIO,
    errno.ENODEV,
    errno.ENXIO,
    errno.EMFILE,
    errno.ENFILE,
)


def error_text(error: BaseException) -> str:
    """The message of an error; of another kind than ValueError and OSError in one line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    if isinstance(error, (ValueError, OSError)) and str(error):
        return str(error)
    text = " ".join(str(error).split())
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]} ..."
    if isinstance(error, MemoryError) or "out of memory" in text.lower():
        return (
            f"out of memory ({text or type(error).__name__}); use a smaller image, a smaller batch "
            "or a device with more memory"
        )
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def ends_run(error: BaseException) -> bool:
    """Whether every further image would meet this error: a lost GPU, or a missing package."""
    causes = _chain(error)
    if any(isinstance(cause, ImportError) for cause in causes):
        return True
    return any(sign in str(cause) for cause in causes for sign in _LOST_DEVICE)


def ends_writing(error: BaseException) -> bool:
    """Whether no further file can be written: a full, broken or read-only disk."""
    return any(
        isinstance(cause, OSError) and cause.errno in _NO_MORE_FILES for cause in _chain(error)
    )


def release_frames(error: BaseException) -> None:
    """Delete the local variables that an error keeps alive, such as the tensors of a batch."""
    for cause in _chain(error):
        traceback.clear_frames(cause.__traceback__)


def _chain(error: BaseException) -> list[BaseException]:
    """An error and the errors that led to it."""
    found: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in found:
        found.append(following)
        following = following.__cause__ or following.__context__
    return found
