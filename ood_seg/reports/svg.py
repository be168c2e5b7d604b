"""A matplotlib figure as an SVG element of a page: its colours follow the theme of the page."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

_TITLE = "title:"
_LINK = "{http://www.w3.org/1999/xlink}href"


def set_title(artist: Artist, text: str) -> None:
    """Give an artist a text that `svg_element` shows while the pointer is on the artist."""
    # Escaped, as names of files may hold what XML must not.
    artist.set_gid(_TITLE + text.encode("unicode_escape").decode())


def svg_element(figure: Figure, description: str, variables: Mapping[str, str]) -> str:
    """A figure as one `<svg>` element without ids, clip paths, style sheet and references.

    The same figure gives the same text. Text stays text, in the font of the page.

    Args:
        figure: one inch becomes 72 pixels of the view box.
        description: read aloud by screen readers in place of the chart.
        variables: names of CSS variables by the colour (`#rrggbb`) that each replaces.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ood_seg"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    markers = {
        f"#{path.get('id')}": path.attrib["d"] for path in root.iterfind(".//{*}defs/{*}path")
    }
    for element in list(root.iter()):
        for child in [*element.findall("{*}metadata"), *element.findall("{*}defs")]:
            element.remove(child)
        element.tag = element.tag.rpartition("}")[2]
        element.text, element.tail = (element.text or "").strip(), None
        given = element.attrib
        title = given.pop("id", "")
        if title.startswith(_TITLE):
            child = ElementTree.Element("title")
            child.text = title.removeprefix(_TITLE).encode().decode("unicode_escape")
            element.insert(0, child)
        if _LINK in given:  # a marker at a point
            place = f"translate({given.pop('x')} {given.pop('y')})"
            element.tag = "path"
            given.update(d=markers[given.pop(_LINK)], transform=place)
        _shorten(given, variables)
    root.attrib = {"class": "chart", "viewBox": root.attrib["viewBox"]}
    root.attrib.update({"role": "img", "aria-label": description})
    return ElementTree.tostring(root, encoding="unicode")


def _shorten(given: dict[str, str], variables: Mapping[str, str]) -> None:
    """Round numbers to one decimal; drop clip paths, empty rotations and fonts."""
    given.pop("clip-path", None)
    if given.get("transform", "").startswith("rotate(-0 "):
        del given["transform"]
    for name in {"d", "x", "y", "transform"} & given.keys():
        text = " ".join(given[name].split())
        given[name] = re.sub(r"-?\d+\.\d+", lambda x: f"{round(float(x[0]), 1) + 0.0:g}", text)
    if "style" in given:
        style = re.sub(r"font-family: [^;]*;? ?", "", given["style"])
        for colour, variable in variables.items():
            style = style.replace(colour, f"var(--{variable})")
        given["style"] = style
