"""What keeps other people and other web pages from using a service that was not opened to them."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_ANY_ADDRESS = ("", "0.0.0.0", "::")
# Any; a name, or those of a domain; an IPv6 address.
_PATTERN = re.compile(r"\*|(\*\.)?[^*\s/:\[\]]+|\[?[\da-f]*:[\da-f.]*:[\da-f.:]*\]?", re.IGNORECASE)
_LOCKED = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
# The interactive documentation of FastAPI loads its scripts from there, and has inline ones.
_CDN = "https://cdn.jsdelivr.net"
_DOCUMENTATION = (
    f"{_LOCKED}; connect-src 'self'; script-src {_CDN} 'unsafe-inline'; style-src {_CDN} "
    "'unsafe-inline' https://fonts.googleapis.com; font-src https://fonts.gstatic.com; "
    "img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; worker-src blob:"
)
_HEADERS = {
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def trusted_hosts(host: str, further: Sequence[str] = ()) -> list[str]:
    """Names by which clients may address a service.

    A page whose name is made to point to this machine after it was loaded (DNS rebinding) sends
    its own name as `Host`, and is refused by that.

    Args:
        host: the address that is listened on.
        further: other names; `*` for any, `*.example.org` for those of a domain.

    Raises:
        ValueError: a pattern that is none of these.
    """
    for pattern in further:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(
                f"--allow-host: expected a name or address without port, '*.example.org' or '*', "
                f"got {pattern!r}"
            )
    bound = [] if host in _ANY_ADDRESS else [host]
    return list(dict.fromkeys(_bracketed(name) for name in (*LOOPBACK, *bound, *further)))


def _bracketed(name: str) -> str:
    """The name as it stands in the header `Host`: IPv6 addresses have brackets there."""
    return f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name


def refuse_other_origins(request: Request) -> None:
    """Refuse what a web page of another origin sends, which browsers do without asking.

    Raises:
        HTTPException: 403.
    """
    origin, host = request.headers.get("origin"), request.headers.get("host", "")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        raise HTTPException(
            403,
            f"the request comes from a page of {origin}, but the service is {host}; only its own "
            "pages may use it (a proxy in front must keep the header Host)",
        )


def token_check(token: str) -> Callable[..., Any]:
    """A dependency of FastAPI that demands `Authorization: Bearer TOKEN`."""

    def check(
        given: Annotated[
            HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))
        ],
    ) -> None:
        # Headers are decoded as Latin-1, whatever their bytes mean.
        sent = b"" if given is None else given.credentials.encode("latin-1")
        if not secrets.compare_digest(sent, token.encode()):
            raise HTTPException(
                401,
                "the service needs its token: Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )

    return check


class ResponseHeaders:
    """Middleware that adds the headers which restrict pages, and reports each response.

    Args:
        page: HTML; its own script and style may run, nothing else.
        observe: called with path and status of each response as it starts, or with 500 where none
            starts.
    """

    def __init__(self, app: ASGIApp, page: str, observe: Callable[[str, int, float], Any]) -> None:
        self.app, self._observe = app, observe
        self._page_policy = page_policy(page)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, path, is_open = time.monotonic(), scope["path"], True

        async def send_with_headers(message: Message) -> None:
            nonlocal is_open
            if message["type"] == "http.response.start":
                is_open = False
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers["Content-Security-Policy"] = self._policy(path)
                self._observe(path, message["status"], time.monotonic() - start)
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except BaseException:
            if is_open:
                self._observe(path, 500, time.monotonic() - start)
            raise

    def _policy(self, path: str) -> str:
        if path == "/":
            return self._page_policy
        return _DOCUMENTATION if path in ("/docs", "/redoc") else _LOCKED


def page_policy(page: str) -> str:
    """Content-Security-Policy of a page that runs its inline script and style and no other."""
    sources = [_LOCKED, "connect-src 'self'", "img-src 'self' blob:", "media-src blob:"]
    for tag in ("script", "style"):
        hashes = [
            base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
            for part in re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        ]
        sources.append(f"{tag}-src " + " ".join(f"'sha256-{one}'" for one in hashes))
    return "; ".join(sources)
