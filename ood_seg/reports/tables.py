"""A table of results and its renderings: terminal, Markdown, LaTeX, HTML and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ood_seg.metrics.formatting import ABSENT, UNDEFINED, is_number

if TYPE_CHECKING:
    from rich.table import Table as RichTable


_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    # A bracket at the start of a row would be read as the optional argument of `\\`.
    "[": "{[}",
    "]": "{]}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}
_WITH_INTERVAL = re.compile(r"(-?[\d.]+) (\[-?[\d.]+, -?[\d.]+\])")


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        caption: what the table shows; may be empty.
        header: column titles; the first column names the rows. A line break in a title is kept in
            the terminal and is a space elsewhere.
        rows: cells as printed, one sequence per row. For `to_csv` a cell may be any value.
        text_columns: titles of the columns that hold words. These are left-aligned and may wrap,
            as the first column; all others hold numbers, which are right-aligned and never wrap.
        note: a sentence shown below the table.
        best: `(row, column)` of the cells set in bold.
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
    text_columns: Sequence[str] = ()
    note: str = ""
    best: frozenset[tuple[int, int]] = frozenset()

    def is_text(self, column: int) -> bool:
        """Whether a column holds words."""
        return column == 0 or self.header[column] in self.text_columns

    def to_rich(self, **options: Any) -> RichTable:
        """The table for a terminal, without its note.

        Args:
            options: passed to `rich.table.Table`.
        """
        from rich.markup import escape
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(title=escape(self.caption) or None, **options)
        for column, title in enumerate(self.header):
            if self.is_text(column):
                table.add_column(Text(title), overflow="fold")
            else:
                cells = [title, *(str(row[column]) for row in self.rows)]
                width = max(len(line) for cell in cells for line in cell.split("\n"))
                table.add_column(Text(title), justify="right", min_width=width, no_wrap=True)
        for index, row in enumerate(self.rows):
            table.add_row(
                *(Text(str(cell), "bold" * ((index, k) in self.best)) for k, cell in enumerate(row))
            )
        return table

    def to_markdown(self) -> str:
        """The table with its caption as a heading of level two, and its note below."""
        rows = [
            list(map(plain_markdown, self.header)),
            ["---" if self.is_text(column) else "---:" for column in range(len(self.header))],
            *(list(map(plain_markdown, row)) for row in self.rows),
        ]
        for row, column in self.best:
            rows[row + 2][column] = f"**{rows[row + 2][column]}**"
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        if self.caption:
            lines = [f"## {plain_markdown(self.caption)}", "", *lines]
        if self.note:
            lines += ["", plain_markdown(self.note)]
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        """The table for a paper, without its note; needs the LaTeX package booktabs.

        Undefined and absent values become a dash. In a cell such as `90.00 [87.00, 93.00]`, only
        the value is set in bold where it is the best, and the interval is smaller.
        """
        columns = "".join("l" if self.is_text(k) else "r" for k in range(len(self.header)))
        rows = [
            " & ".join(_latex_cell(cell, (index, k) in self.best) for k, cell in enumerate(row))
            for index, row in enumerate(self.rows)
        ]
        lines = [
            "% needs \\usepackage{booktabs}",
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{_latex_text(self.caption)}}}",
            f"  \\begin{{tabular}}{{{columns}}}",
            "    \\toprule",
            f"    {' & '.join(map(_latex_text, self.header))} \\\\",
            "    \\midrule",
            *(f"    {row} \\\\" for row in rows),
            "    \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
        ]
        return "\n".join(lines) + "\n"

    def to_html(self, *, sortable: bool = False) -> str:
        """The table as a scrolling HTML region with its caption, and its note below.

        Args:
            sortable: whether the script of the report sorts its rows on a click.
        """
        from ood_seg.reports.templates import template

        macros: Any = template("macros.html.j2").module
        return str(macros.table(self, sortable))

    def to_csv(self) -> str:
        """Header and rows as CSV; numbers in full precision, None as an empty cell."""
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([self.header, *self.rows])
        return buffer.getvalue()


def print_table(table: Table, *lines: str) -> None:
    """Print a table with its note and further lines to standard output.

    A table whose numbers do not fit the terminal is wider than it: numbers are never cut off.
    """
    from rich.console import Console

    console, shown = Console(), table.to_rich()
    needed = console.measure(shown, options=console.options.update(max_width=10_000)).minimum
    console.width = max(console.width, needed)
    console.print(shown)
    print_lines(table.note, *lines)


def print_lines(*lines: str) -> None:
    """Print lines to standard output, unwrapped, so that a whole line can be searched for.

    Empty lines are left out.
    """
    from rich.console import Console

    for line in filter(None, lines):
        Console().print(line, markup=False, highlight=False, soft_wrap=True)


def best_rows(values: Sequence[float | None], *, more_is_better: bool) -> set[int]:
    """Rows whose percentage no other betters at two decimals; none for fewer than two values.

    Args:
        values: fractions of 1, one per row; None or NaN for an undefined one.
    """
    rounded = {row: round(value, 4) for row, value in enumerate(values) if is_number(value)}
    if len(rounded) < 2:
        return set()
    best = (max if more_is_better else min)(rounded.values())
    return {row for row, value in rounded.items() if value == best}


def plain_markdown(text: str) -> str:
    """Text that Markdown shows literally, on one line."""
    return re.sub(r"([\\`*_<>|\[\]])", r"\\\1", " ".join(str(text).split()))


def _latex_cell(cell: Any, best: bool) -> str:
    text = str(cell)
    if text in (UNDEFINED, ABSENT):
        return "--"
    found = _WITH_INTERVAL.fullmatch(text)
    value = _latex_text(found[1] if found else text)
    value = f"\\textbf{{{value}}}" if best else value
    return f"{value} {{\\scriptsize {found[2]}}}" if found else value


def _latex_text(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(text.split()))
