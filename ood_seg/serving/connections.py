"""HTTP connections that are closed when a client neither speaks nor listens."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from ood_seg.serving.limits import ServiceLimits


class TimedProtocol(H11Protocol):
    """uvicorn's HTTP protocol with a limit on the time of a header and on that of an answer.

    uvicorn itself has neither: it closes a connection that is idle between two requests, but one
    that sends a header byte by byte, or does not read its answer, stays open as long as it likes.
    The body of a request is limited where it is read, see `uploads`.

    Args:
        limits: `patience` is the time of a header, and with `min_rate` that of an answer.
        **options: of uvicorn's protocol.
    """

    def __init__(self, limits: ServiceLimits, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        self._header_timer: asyncio.TimerHandle | None = None
        self._answer_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._time_header()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._time_header()

    def connection_lost(self, exc: Exception | None) -> None:
        self._header_timer = _cancelled(self._header_timer)
        self._answer_timer = _cancelled(self._answer_timer)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        waiting = self.transport.get_write_buffer_size()
        seconds = self._limits.patience + waiting / self._limits.min_rate
        self._answer_timer = _cancelled(self._answer_timer)
        self._answer_timer = self.loop.call_later(seconds, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._answer_timer = _cancelled(self._answer_timer)

    def _time_header(self) -> None:
        """Let the time of a header run, also while the rest of a refused body arrives."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._header_timer = _cancelled(self._header_timer)
        elif self._header_timer is None:
            patience = self._limits.patience
            self._header_timer = self.loop.call_later(patience, self.transport.abort)


def _cancelled(timer: asyncio.TimerHandle | None) -> Any:
    if timer is not None:
        timer.cancel()
