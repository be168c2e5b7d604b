"""One table in five formats."""

import csv
import io

import pytest
from report_html import Page

from ood_seg.reports import Table
from ood_seg.reports.tables import best_rows, print_table

TABLE = Table(
    "A [b] & c",
    ("name", "set\nAP ↑", "words"),
    [("x_1", "90.00 [87.00, 93.00]", "[red]a | b"), ("y", "undefined", "-")],
    text_columns=("words",),
    note="50 % <of> it.",
    best=frozenset({(0, 1)}),
)


def test_terminal_shows_text_literally_and_never_cuts_numbers_off(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    print_table(TABLE, "a line that is longer than the terminal is wide", "")
    lines = capsys.readouterr().out.splitlines()
    assert any("A [b] & c" in line for line in lines)
    assert any("│ 90.00 [87.00, 93.00] │" in line for line in lines)
    assert sum("[red]" in line for line in lines) == 1
    assert lines[-2:] == ["50 % <of> it.", "a line that is longer than the terminal is wide"]
    header = next(k for k, line in enumerate(lines) if "AP ↑" in line)
    assert "set" in lines[header - 1]


def test_best_cells_are_bold_in_the_terminal():
    cells = list(TABLE.to_rich().columns[1].cells)
    assert [str(cell.style) for cell in cells] == ["bold", ""]


def test_markdown():
    assert TABLE.to_markdown().splitlines() == [
        r"## A \[b\] & c",
        "",
        "| name | set AP ↑ | words |",
        "| --- | ---: | --- |",
        r"| x\_1 | **90.00 \[87.00, 93.00\]** | \[red\]a \| b |",
        "| y | undefined | - |",
        "",
        r"50 % \<of\> it.",
    ]
    assert (
        Table("", ("a", "b"), [("c", 1)]).to_markdown() == "| a | b |\n| --- | ---: |\n| c | 1 |\n"
    )


def test_latex():
    text = TABLE.to_latex()
    assert r"\caption{A {[}b{]} \& c}" in text
    assert r"\begin{tabular}{lrl}" in text
    assert r"name & set AP $\uparrow$ & words \\" in text
    assert r"x\_1 & \textbf{90.00} {\scriptsize [87.00, 93.00]} & {[}red{]}a | b \\" in text
    assert r"y & -- & -- \\" in text


@pytest.mark.parametrize("sortable", [False, True])
def test_html(sortable):
    page = Page(TABLE.to_html(sortable=sortable))
    assert page.tables["A [b] & c"][1:] == [
        ["x_1", "90.00 [87.00, 93.00]", "[red]a | b"],
        ["y", "undefined", "-"],
    ]
    assert "50\u00a0% <of> it." in page.text
    classes = [attrs.get("class") for tag, attrs in page.elements if tag == "td"]
    assert classes == ["best", "text", None, "text"]
    assert any(attrs.get("class") == "sortable" for tag, attrs in page.elements) == sortable


def test_csv_keeps_numbers_in_full_precision():
    rows = [("a,b", 0.1 + 0.2, None), ('"', float("nan"), "x\ny")]
    text = Table("", ("name", "value", "none"), rows).to_csv()
    assert list(csv.reader(io.StringIO(text))) == [
        ["name", "value", "none"],
        ["a,b", "0.30000000000000004", ""],
        ['"', "nan", "x\ny"],
    ]


@pytest.mark.parametrize(
    ("values", "more", "less"),
    [
        ([0.5, 0.7, 0.6], {1}, {0}),
        ([0.5, None, 0.50004], {0, 2}, {0, 2}),  # equal as printed
        ([float("nan"), 0.5, None], set(), set()),  # alone is not best
    ],
)
def test_best_rows(values, more, less):
    assert best_rows(values, more_is_better=True) == more
    assert best_rows(values, more_is_better=False) == less
