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
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    markers = {element.get("id"): element for element in root.iterfind(".//defs/path")}
    for element in list(root.iter()):
        for name in ("metadata", "defs"):
            for child in element.findall(name):
                element.remove(child)
        _simplify(element, markers, variables)
    for key in ("width", "height", "version"):
        del root.attrib[key]
    root.attrib.update({"class": "chart", "role": "img", "aria-label": description})
    return ElementTree.tostring(root, encoding="unicode")


def _simplify(
    element: ElementTree.Element,
    markers: Mapping[str | None, ElementTree.Element],
    variables: Mapping[str, str],
) -> None:
    """Inline a marker, turn the id of `set_title` into a title, drop what a page does not need."""
    element.text, element.tail = (element.text or "").strip(), None
    given = element.attrib
    given.pop("clip-path", None)
    title = given.pop("id", "")
    if title.startswith(_TITLE):
        child = ElementTree.Element("title")
        child.text = title.removeprefix(_TITLE).encode().decode("unicode_escape")
        element.insert(0, child)
    if element.tag == "use":
        marker = markers[given.pop("{http://www.w3.org/1999/xlink}href").removeprefix("#")]
        element.tag = "path"
        given["d"] = marker.attrib["d"]
        given["transform"] = f"translate({given.pop('x')} {given.pop('y')})"
    if given.get("transform", "").startswith("rotate(-0 "):
        del given["transform"]
    for name in {"d", "x", "y", "transform"} & given.keys():
        given[name] = re.sub(r"-?\d+\.\d+", _short, " ".join(given[name].split()))
    style = re.sub(r"font-family: [^;]*;? ?", "", given.get("style", ""))
    if style:
        given["style"] = re.sub(
            r"#[0-9a-f]{6}",
            lambda found: f"var(--{variables[found[0]]})" if found[0] in variables else found[0],
            style,
        )


def _short(found: re.Match[str]) -> str:
    """A number with one decimal at most."""
    return f"{round(float(found[0]), 1) + 0.0:g}"
