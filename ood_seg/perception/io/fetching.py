"""Images at http addresses."""

from __future__ import annotations

from urllib.parse import urlsplit

from ood_seg.perception.io.captures import shown_address

_TIMEOUT_S = 10.0
_BYTES_PER_PIXEL = 8


def fetch(url: str, max_pixels: int) -> bytes:
    """Return the content at a URL.

    Raises:
        ValueError: it cannot be fetched, has more bytes than `max_pixels` pixels can have, or the
            URL contains a user name.
    """
    # Both take a while to import, and most runs fetch nothing.
    import http.client
    import urllib.request

    most, shown = max_pixels * _BYTES_PER_PIXEL, shown_address(url)
    if "@" in urlsplit(url).netloc:
        raise ValueError(f"image {shown}: user names and passwords are not sent; download it first")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            content = answer.read(most + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ValueError(f"image {shown}: cannot be fetched ({error})") from error
    if len(content) > most:
        raise ValueError(
            f"image {shown}: more than {most} bytes; raise max_pixels if this is intended"
        )
    return content
