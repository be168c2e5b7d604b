"""The page of the service, put together from its plain files."""

from __future__ import annotations

from importlib import resources

STYLES = ("page.css", "controls.css")
# In this order: each uses what stands in those before it.
SCRIPTS = (
    "archives.js",
    "png.js",
    "decision.js",
    "service.js",
    "drawing.js",
    "entries.js",
    "views.js",
    "downloads.js",
    "page.js",
)


def page_html() -> str:
    """Return the page with its styles and scripts inside.

    One document, so that its Content-Security-Policy allows these scripts by their hashes, and no
    other file of this origin.
    """
    folder = resources.files(__package__).joinpath("static")

    def text(name: str) -> str:
        return folder.joinpath(name).read_text("utf-8")

    styles = "".join(f"<style>\n{text(name)}</style>\n" for name in STYLES)
    scripts = "".join(f"<script>\n{text(name)}</script>\n" for name in SCRIPTS)
    page = text("page.html")
    return page.replace("<!-- styles -->\n", styles).replace("<!-- scripts -->\n", scripts)
