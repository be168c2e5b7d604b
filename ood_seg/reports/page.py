"""The HTML report: one file that holds all it shows."""

from __future__ import annotations

from ood_seg.reports import charts, facts, part_tables
from ood_seg.reports.evaluations import Evaluations, metric_names, unit
from ood_seg.reports.gallery import Gallery, colour_bar
from ood_seg.reports.metric_tables import images_table, metrics_table
from ood_seg.reports.templates import template
from ood_seg.visualization import DECISION_COLOURS

# More rows make a page slow; the CSV file holds all images.
MAX_ROWS = 500


def html_page(evaluations: Evaluations, gallery: Gallery) -> str:
    """The page; it leaves out the sections for which nothing was measured.

    Args:
        evaluations: by label.
        gallery: images to show.
    """
    # The pooled curves do not show what another protocol computes.
    protocols = {one["protocol"]["name"] for one in evaluations.values()}
    return template("report.html.j2").render(
        title=facts.title(evaluations),
        labels=list(evaluations),
        facts=facts.facts(evaluations),
        notices=[*facts.notices(evaluations), *gallery.problems],
        metrics=metrics_table(evaluations) if metric_names(evaluations) else None,
        intervals=charts.intervals(evaluations),
        comparisons=part_tables.comparison_tables(evaluations),
        precision_recall=charts.precision_recall(evaluations),
        roc={scale: charts.roc(evaluations, log=scale == "log") for scale in ("linear", "log")},
        only_pooled=protocols == {"pooled"},
        histograms={label: charts.histogram(one) for label, one in evaluations.items()},
        components=part_tables.component_tables(evaluations),
        component_f1=charts.component_f1(evaluations),
        calibrations=part_tables.calibration_tables(evaluations),
        reliability={label: charts.reliability(one) for label, one in evaluations.items()},
        closed_set=part_tables.closed_set_table(evaluations),
        gallery=gallery,
        ranked_by="AUROC" if unit(evaluations) == "image" else "AP",
        unit=unit(evaluations),
        colour_bar=colour_bar(),
        decision_colours=DECISION_COLOURS,
        images=images_table(evaluations, MAX_ROWS),
    )
