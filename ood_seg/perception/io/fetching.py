"""Pictures behind http addresses."""

from __future__ import annotations

import http.client
import urllib.request
from urllib.parse import urlsplit

from ood_seg.perception.io.captures import shown_address

_TIMEOUT_S = 10.0
_BYTES_OF_A_PIXEL = 8


def fetch(url: str, max_pixels: int) -> bytes:
    """The bytes behind a URL, no more than so many pixels can have.

    Raises:
        ValueError: it cannot be fetched, or has more bytes.
    """
    most, shown = max_pixels * _BYTES_OF_A_PIXEL, shown_address(url)
    if "@" in urlsplit(url).netloc:
        raise ValueError(f"picture {shown}: users and passwords are not sent; fetch it first")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            content = answer.read(most + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ValueError(f"picture {shown}: cannot be fetched ({error})") from error
    if len(content) > most:
        raise ValueError(
            f"picture {shown}: more than {most} bytes; raise max_pixels if it is meant"
        )
    return content
