"""Reports of evaluations: one HTML page, and tables as Markdown, CSV, LaTeX and JSON."""

from ood_seg.reports.tables import Table
from ood_seg.reports.writing import FORMATS, write_reports

__all__ = ["FORMATS", "Table", "write_reports"]
