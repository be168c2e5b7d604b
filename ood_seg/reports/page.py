"""The HTML report: one file that holds all it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape

from ood_seg.metrics.formatting import percent
from ood_seg.reports import charts, facts, metric_tables, part_tables, wording
from ood_seg.reports.pictures import FALSE_ALARM, FOUND, MISSED, Gallery, Picture, colour_bar
from ood_seg.reports.style import SCRIPT, STYLE
from ood_seg.reports.tables import Table
from ood_seg.reports.wording import Evaluations

# More rows than that make a page slow; the CSV file holds all images.
MAX_ROWS = 500
# Nothing may be loaded, from wherever.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"


def html_page(evaluations: Evaluations, gallery: Gallery) -> str:
    """The whole page; sections for which nothing was measured are left out.

    Args:
        evaluations: by label.
        gallery: pictures to show.
    """
    makers: dict[str, Callable[[Evaluations], str]] = {
        "Metrics": _metrics,
        "Comparison": lambda found: _tables(part_tables.comparison_tables(found)),
        "Curves": _curves,
        "Scores": lambda found: _one_each(found, charts.histogram),
        "Components": _components,
        "Calibration": _calibration,
        "Known classes": lambda found: _tables([part_tables.closed_set_table(found)]),
        "Pictures": lambda found: _pictures(found, gallery),
        "Images": _images,
    }
    sections = {name: maker(evaluations) for name, maker in makers.items()}
    sections = {name: body for name, body in sections.items() if body}
    links = "".join(f'<li><a href="#{_anchor(name)}">{name}</a></li>' for name in sections)
    title = escape(facts.title(evaluations))
    terms = "".join(
        f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in facts.facts(evaluations)
    )
    notices = [*facts.notices(evaluations), *gallery.problems]
    warned = "".join(f'<p class="notice" role="note">{escape(text)}</p>' for text in notices)
    body = "".join(
        f'<section id="{_anchor(name)}"><h2>{name}</h2>{body}</section>'
        for name, body in sections.items()
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{title}</title><style>{STYLE}</style></head>\n'
        f"<body><header><h1>{title}</h1><dl>{terms}</dl>{warned}"
        f'<nav aria-label="sections"><ul>{links}</ul></nav></header>\n'
        f"<main>{body}</main>\n<script>{SCRIPT}</script></body></html>\n"
    )


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _tables(shown: Iterable[Table | None]) -> str:
    return "".join(table.to_html() for table in shown if table)


def _figures(figures: Iterable[charts.Figure | None]) -> str:
    return _columns("".join(charts.figure_html(figure) for figure in figures if figure))


def _columns(*blocks: str) -> str:
    """Side by side where the page is wide enough."""
    return f'<div class="columns">{"".join(blocks)}</div>' if any(blocks) else ""


def _one_each(evaluations: Evaluations, maker: Callable[[Mapping], charts.Figure | None]) -> str:
    """A chart for each method that has one."""
    found = {label: maker(one) for label, one in evaluations.items()}
    return _figures(
        figure._replace(title=f"{figure.title}, {label}") if len(evaluations) > 1 else figure
        for label, figure in found.items()
        if figure
    )


def _metrics(evaluations: Evaluations) -> str:
    if not wording.metric_names(evaluations):
        return ""
    table = metric_tables.metrics_table(evaluations)
    return table.to_html() + _figures([charts.intervals(evaluations)])


def _curves(evaluations: Evaluations) -> str:
    figures = {"pr": charts.precision_recall(evaluations)}
    figures["linear"], figures["log"] = (charts.roc(evaluations, log=log) for log in (False, True))
    drawn = charts.figure_html(figures["pr"]) if figures["pr"] else ""
    if figures["linear"] and figures["log"]:
        switches = "".join(
            f'<input type="radio" name="roc" id="roc-{scale}"{state}>'
            f'<label class="switch" for="roc-{scale}">{text}</label>'
            for scale, state, text in (
                ("linear", " checked", "linear"),
                ("log", "", "logarithmic false-positive rate"),
            )
        )
        both = "".join(charts.figure_html(figures[scale], scale) for scale in ("linear", "log"))
        drawn += f'<div class="toggle">{switches}{both}</div>'
    protocols = {one["protocol"]["name"] for one in evaluations.values()}
    pooled = "The curves are those of all pixels together, whatever the protocol of the metrics."
    return (charts.note_html(pooled) if drawn and protocols != {"pooled"} else "") + _columns(drawn)


def _components(evaluations: Evaluations) -> str:
    means, *others = part_tables.component_tables(evaluations) or [None]
    chart = charts.component_f1(evaluations)
    drawn = charts.figure_html(chart) if chart else ""
    blocks = [others] if len(evaluations) == 1 else [[table] for table in others]
    shown = [f"<div>{_tables(block)}</div>" for block in blocks if block]
    return _tables([means]) + _columns(drawn, *shown)


def _calibration(evaluations: Evaluations) -> str:
    errors, *others = part_tables.calibration_tables(evaluations) or [None]
    return _tables([errors]) + _one_each(evaluations, charts.reliability) + _tables(others)


def _images(evaluations: Evaluations) -> str:
    table = metric_tables.images_table(evaluations, MAX_ROWS)
    return table.to_html(sortable=True) if table else ""


def _pictures(evaluations: Evaluations, gallery: Gallery) -> str:
    if not gallery.pictures:
        return ""
    bars = "".join(
        f'<p class="colours">score of {escape(label)}: {low:.4g} '
        f'<img src="{colour_bar()}" alt="dark to bright"> {high:.4g}</p>'
        for label, (low, high) in gallery.ranges.items()
    )
    keys = "".join(
        f'<li><span class="key" style="background: rgb{colour}"></span>{text}</li>'
        for colour, text in ((FOUND, "found"), (MISSED, "missed"), (FALSE_ALARM, "false alarm"))
    )
    legend = '<p class="note">Decision at the threshold of the best F1:</p>'
    legend += f'<ul class="legend">{keys}</ul>'
    has_decision = any(
        p.title.startswith("decision") for one in gallery.pictures for p in one.panels
    )
    order = f" of {next(iter(evaluations))}" if len(evaluations) > 1 else ""
    shown = []
    for place in ("worst", "best"):
        pictures = [picture for picture in gallery.pictures if picture.place == place]
        if pictures:
            shown.append(f"<h3>{place.capitalize()} AP{escape(order)}</h3>")
            shown += [_picture(picture, evaluations) for picture in pictures]
    return bars + (legend if has_decision else "") + "".join(shown)


def _picture(picture: Picture, evaluations: Evaluations) -> str:
    panels = "".join(
        f'<figure><img src="{panel.uri}" alt="{escape(panel.alt)}">'
        f"<figcaption>{escape(panel.title)}</figcaption></figure>"
        for panel in picture.panels
    )
    ap = ", ".join(
        (f"{label} " if len(evaluations) > 1 else "") + f"AP {percent(image['ap'])} %"
        for label, one in evaluations.items()
        for image in one["images"]
        if image["name"] == picture.name
    )
    head = f"<strong>{escape(picture.name)}</strong>, {escape(ap)}"
    return f'<div class="picture"><p>{head}</p><div class="panels">{panels}</div></div>'
