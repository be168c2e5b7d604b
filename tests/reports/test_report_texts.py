"""Markdown, CSV, LaTeX and JSON hold the values of the evaluation."""

import csv
import json

import pytest
from report_samples import bare, evaluation, write_maps

from ood_seg.reports import write_reports

TEXTS = ("md", "csv", "tex", "json")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_maps(tmp_path_factory.mktemp("maps"), 5)


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def markdown_tables(text: str) -> list[list[list[str]]]:
    tables, last = [], False
    for line in text.splitlines():
        if line.startswith("| "):
            if not last:
                tables.append([])
            tables[-1].append(line.strip("| ").split(" | "))
        last = line.startswith("| ")
    return tables


def test_csv_holds_every_metric_in_full_precision(images, tmp_path):
    content = evaluation(images)
    content["metrics"]["ap"] = {
        "value": 0.1234567890123456,
        "bounds": [0.12, 0.13],
        "interval": [0.1, 0.2],
    }
    rows = {row["metric"]: row for row in read_csv(write_reports(content, tmp_path, TEXTS)["csv"])}
    assert list(rows) == ["auroc", "ap", "fpr95", "best_f1"]
    numbers = ("value", "bound_low", "bound_high", "interval_low", "interval_high")
    expected = [0.1234567890123456, 0.12, 0.13, 0.1, 0.2]
    assert [float(rows["ap"][name]) for name in numbers] == expected
    assert rows["auroc"]["bound_low"] == ""
    assert rows["ap"]["interval_level"] == "0.95"


def test_csv_of_images_has_one_row_per_method_and_image(images, tmp_path):
    two = [evaluation(images), evaluation(images, method="max softmax")]
    rows = read_csv(write_reports(two, tmp_path, ["csv"])["images_csv"])
    assert [(row["method"], row["name"]) for row in rows] == [
        (method, image["name"]) for method in ("energy", "max softmax") for image in images
    ]
    assert [float(row["ap"]) for row in rows[:5]] == [image["ap"] for image in images]
    assert [int(row["anomalous"]) for row in rows[:5]] == [i["anomalous"] for i in images]


def test_markdown_values_are_those_of_the_evaluation_in_percent(images, tmp_path):
    text = write_reports(evaluation(images), tmp_path, ["md"])["md"].read_text(encoding="utf-8")
    metrics, components, by_threshold, by_size, calibration, points, known, by_image = (
        markdown_tables(text)
    )
    assert [row[:3] for row in metrics[2:]] == [
        ["AUROC ↑", "90.00", "87.00 to 93.00"],
        ["AP ↑", "16.00", "11.00 to 21.00"],
        ["FPR95 ↓", "38.00", "32.00 to 44.00"],
        ["best F1 ↑", "22.00", "18.00 to 26.00"],
    ]
    # 0.5 % of the pixels are anomalous: flagging all has F1 = 2 * 0.005 / 1.005.
    assert [row[3] for row in metrics[2:]] == ["50.00", "0.50", "95.00", "1.00"]
    assert components[2] == ["energy", "obstacle", "12.34", "23.45", "34.56"]
    assert by_threshold[2] == ["0.25", "1,021", "12", "33", "97.84"]
    assert by_size[2:] == [["10 to 99", "3", "2", "25.00"], ["100 and more", "0", "0", "-"]]
    assert calibration[2] == ["energy", "platt", "31.25", "0.46"]
    assert points[2] == ["fpr 5%", "-5.5", "61.00", "5.00", "3.25", "-"]
    assert points[3][-2:] == ["-", "expected FPR of a new image at most 5 %"]
    assert known[2] == ["energy", "72.01", "65.88", "-6.13"]
    share = 100 * images[0]["anomalous"] / (images[0]["anomalous"] + images[0]["known"])
    assert by_image[2] == [
        "000",
        str(images[0]["anomalous"]),
        f"{share:.2f}",
        "50.00",
        "16.67",
        "100.00",
    ]


def test_points_without_guarantees_have_no_column_for_them(images, tmp_path):
    content = evaluation(images)
    del content["calibration"]["operating_points"][1]
    text = write_reports(content, tmp_path, ["md"])["md"].read_text(encoding="utf-8")
    header, _, row = markdown_tables(text)[5]
    assert header[-1] == "false alarms / image"
    assert row == ["fpr 5%", "-5.5", "61.00", "5.00", "3.25"]


def test_bounds_of_a_streamed_value_are_shown(images, tmp_path):
    content = evaluation(images)
    content["mode"] = "streaming"
    content["metrics"]["ap"]["bounds"] = [0.15999009, 0.16001001]
    text = write_reports(content, tmp_path, ["md"])["md"].read_text(encoding="utf-8")
    header, _, auroc, ap, *_ = markdown_tables(text)[0]
    column = header.index("bounds")
    assert (auroc[column], ap[column]) == ("-", "15.9990 to 16.0011")


def test_comparison_of_two_methods(images, tmp_path):
    content = evaluation(images)
    part = {"first": 0.16, "second": 0.13, "difference": -0.03, "interval": [-0.05, None]}
    content["comparison"] = {
        "method": "max_softmax",
        "level": 0.9,
        "samples": 2000,
        "metrics": {"ap": {**part, "p_value": 0.0123}},
    }
    text = write_reports(content, tmp_path, ["md"])["md"].read_text(encoding="utf-8")
    header, _, row = markdown_tables(text)[1]
    assert header == [
        "metric",
        "energy",
        r"max\_softmax",
        "difference",
        "90 % interval",
        "p-value",
    ]
    assert row == ["AP ↑", "16.00", "13.00", "-3.00", "undefined", "0.0123"]


def test_best_method_is_bold_where_less_is_better_too(images, tmp_path):
    three = [
        evaluation(images, method=name, shift=shift)
        for name, shift in (("a", 1.0), ("b", 2.0), ("c", 1.5))
    ]
    paths = write_reports(three, tmp_path, ["md", "tex"])
    rows = markdown_tables(paths["md"].read_text(encoding="utf-8"))[0][2:]
    assert [[cell.startswith("**") for cell in row[1:]] for row in rows] == [
        [False] * 4,
        [True] * 4,
        [False] * 4,
    ]
    bold = [line for line in paths["tex"].read_text().splitlines() if "textbf" in line]
    assert len(bold) == 1
    assert bold[0].strip().startswith("b & \\textbf{90.00} {\\scriptsize [87.00, 93.00]} &")


def test_equal_methods_are_both_best(images, tmp_path):
    two = [evaluation(images), evaluation(images)]
    text = write_reports(two, tmp_path, ["md"])["md"].read_text(encoding="utf-8")
    assert [row[:2] for row in markdown_tables(text)[0][2:]] == [
        ["energy", r"**90.00 \[87.00, 93.00\]**"],
        ["energy (2)", r"**90.00 \[87.00, 93.00\]**"],
    ]


def test_latex_escapes_its_special_characters(images, tmp_path):
    content = evaluation(images, method=r"a_b & 50% {x} $ # ~ ^ \ <[y]")
    text = write_reports(content, tmp_path, ["tex"])["tex"].read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if "scriptsize" in line)
    assert row.strip().startswith(
        r"a\_b \& 50\% \{x\} \$ \# \textasciitilde{} \textasciicircum{} \textbackslash{} "
        r"\textless{}{[}y{]} & 90.00 {\scriptsize [87.00, 93.00]} & "
    )
    assert "\\toprule" in text
    assert text.count("{") == text.count("}")


def test_undefined_values(images, tmp_path):
    content = bare(images)
    content["metrics"]["ap"] = {"value": float("nan"), "bounds": None, "interval": None}
    paths = write_reports(content, tmp_path, TEXTS)
    assert [row["value"] for row in read_csv(paths["csv"])] == ["nan"] * 4
    text = paths["md"].read_text(encoding="utf-8")
    assert [row[1] for row in markdown_tables(text)[0][2:]] == ["undefined"] * 4
    assert "undefined: the ground truth holds no anomalous pixel." in text
    assert "energy & -- & -- & -- & -- \\\\" in paths["tex"].read_text()
    assert "NaN" not in paths["json"].read_text()
    assert json.loads(paths["json"].read_text())["metrics"]["ap"]["value"] is None


def test_json_is_the_evaluation(images, tmp_path):
    content = evaluation(images)
    path = write_reports(content, tmp_path, ["json"])["json"]
    assert path.name == "evaluation.json"
    assert json.loads(path.read_text(encoding="utf-8")) == content
    both = write_reports([content, content], tmp_path, ["json"])["json"]
    assert both.name == "evaluations.json"
    assert json.loads(both.read_text(encoding="utf-8")) == [content, content]


def test_names_with_signs_of_markdown_newlines_and_odd_bytes(images, tmp_path):
    odd = [{**images[0], "name": "a|b\n*c*\udcff"}, {**images[1], "name": 'ü"<i>,;'}]
    paths = write_reports(evaluation(odd), tmp_path, ["md", "csv", "json"])
    table = markdown_tables(paths["md"].read_text(encoding="utf-8"))[-1]
    assert [row[0] for row in table[2:]] == ["a\\|b \\*c\\*\\udcff", 'ü"\\<i\\>,;']
    assert [row["name"] for row in read_csv(paths["images_csv"])] == [
        "a|b\n*c*\\udcff",
        'ü"<i>,;',
    ]
    assert (
        json.loads(paths["json"].read_text(encoding="utf-8"))["images"][0]["name"] == odd[0]["name"]
    )


def test_without_images_there_is_no_table_of_them(tmp_path):
    paths = write_reports(evaluation([]), tmp_path, ["csv", "md"])
    assert set(paths) == {"csv", "md"}
    assert len(markdown_tables(paths["md"].read_text(encoding="utf-8"))) == 7


def test_nothing_unfinished_is_left(images, tmp_path):
    write_reports(evaluation(images), tmp_path / "new" / "folder")
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == [
        "evaluation.json",
        "images.csv",
        "metrics.csv",
        "metrics.tex",
        "report.html",
        "report.md",
    ]


def test_earlier_files_survive_a_failed_report(images, tmp_path, monkeypatch):
    path = write_reports(evaluation(images), tmp_path, ["md"])["md"]
    before = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_reports(evaluation(images, method="other"), tmp_path, ["md"])
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["report.md"]


@pytest.mark.parametrize(
    ("changes", "formats", "message"),
    [
        ([], ["md"], "evaluation.*none"),
        ([{}], ["pdf"], "formats.*html, md, csv, tex, json.*'pdf'"),
        ([{"schema": "x/9"}], ["md"], "schema.*'ood_seg.evaluation/1'.*'x/9'"),
        ([{}, {"data_set": "other"}], ["md"], "dataset.*'drawn streets', 'other'"),
    ],
)
def test_bad_input(images, tmp_path, changes, formats, message):
    with pytest.raises(ValueError, match=message):
        write_reports([{**evaluation(images), **one} for one in changes], tmp_path, formats)
