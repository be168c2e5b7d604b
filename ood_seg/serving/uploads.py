"""Reads the bodies of requests, whatever a client sends or fails to send."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.types import Message

from ood_seg.serving.limits import ServiceLimits

_FORM = "multipart/form-data"
# curl gives the last one to any body that it is not told the type of.
_BODIES = ("application/octet-stream", "application/x-www-form-urlencoded")


def busy(message: str) -> HTTPException:
    """The answer to a request that may be repeated later."""
    return HTTPException(429, f"{message}; try again", headers={"Retry-After": "1"})


class Uploads:
    """The bodies that are arriving or held.

    A client that stops or trickles loses its place after `patience` seconds, so that a few of them
    cannot keep others out.
    """

    def __init__(self, limits: ServiceLimits) -> None:
        self._limits = limits
        self._arriving = self._bytes_held = 0

    @contextlib.asynccontextmanager
    async def image(self, request: Request) -> AsyncIterator[bytes]:
        """The content of the image: the body itself, or the file in the form field `image`.

        Raises:
            HTTPException: 408, 413, 415, 422 or 429, see docs/service.md.
            ClientDisconnect: the client went away.
        """
        kind = _checked_type(request)
        self._check_stated_length(request)
        if self._arriving >= self._limits.max_uploads:
            raise busy(f"{self._arriving} bodies are arriving")
        upload = _Upload(self, request, self._limits)
        self._arriving += 1
        try:
            try:
                content = await _content(Request(request.scope, upload.receive), kind)
            finally:
                self._arriving -= 1
            yield content
        finally:
            self._bytes_held -= upload.seen

    def _check_stated_length(self, request: Request) -> None:
        """Refuse before anything is read: no `100 Continue` is sent then."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._limits.max_bytes:
            raise self._too_large()

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is larger than {self._limits.max_bytes} bytes")

    def hold(self, count: int, seen: int) -> None:
        """Account for the next bytes of a body of which so many have been seen with them."""
        self._bytes_held += count
        if seen > self._limits.max_bytes:
            raise self._too_large()
        if self._bytes_held > self._limits.upload_bytes:
            raise busy(f"bodies of {self._bytes_held} bytes are held")


class _Upload:
    """One body; `receive` replaces that of its request."""

    def __init__(self, uploads: Uploads, request: Request, limits: ServiceLimits) -> None:
        self._uploads, self._request, self._limits = uploads, request, limits
        self._start, self.seen = time.monotonic(), 0

    async def receive(self) -> Message:
        limits, passed = self._limits, time.monotonic() - self._start
        allowed = min(limits.timeout, limits.patience + self.seen / limits.min_rate)
        try:
            wait = min(limits.patience, allowed - passed)
            message = await asyncio.wait_for(self._request.receive(), wait)
        except asyncio.TimeoutError as error:
            raise HTTPException(
                408,
                f"the body did not arrive in time: {self.seen} bytes within "
                f"{time.monotonic() - self._start:.3g} s; expected {limits.min_rate:g} bytes per "
                f"second, no pause above {limits.patience:g} s, and all of it within "
                f"{limits.timeout:g} s",
            ) from error
        count = len(message.get("body", b""))
        self.seen += count
        self._uploads.hold(count, self.seen)
        return message


def _checked_type(request: Request) -> str:
    """The media type of the body, without parameters; empty if it is not stated."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind and kind not in (_FORM, *_BODIES) and not kind.startswith("image/"):
        raise HTTPException(
            415, f"expected the content type image/*, {_BODIES[0]} or {_FORM}, got {kind}"
        )
    return kind


async def _content(request: Request, kind: str) -> bytes:
    if kind != _FORM:
        return await request.body()
    async with request.form() as form:
        field = form.get("image")
        if not isinstance(field, UploadFile):
            names = ", ".join(form) or "none"
            raise HTTPException(422, f"expected a file in the form field 'image', got {names}")
        return await field.read()
