"""The HTML report: complete, self-contained, escaped, without sections for absent parts."""

import re

import pytest
from report_html import Page
from report_samples import bare, evaluation, write_maps

from ood_seg.reports import write_reports

SECTIONS = [
    "metrics",
    "curves",
    "scores",
    "components",
    "calibration",
    "known-classes",
    "examples",
    "images",
]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_maps(tmp_path_factory.mktemp("maps"), 5)


def html_of(content, folder, **options) -> str:
    return write_reports(content, folder, ["html"], **options)["html"].read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(images, tmp_path_factory):
    """The report of one evaluation with every section."""
    return Page(html_of(evaluation(images), tmp_path_factory.mktemp("page")))


def test_every_section_and_only_those_that_were_measured(page, images, tmp_path):
    assert page.sections() == SECTIONS
    for part, section in (
        ("components", "components"),
        ("calibration", "calibration"),
        ("closed_set", "known-classes"),
    ):
        found = Page(html_of({**evaluation(images), part: None}, tmp_path)).sections()
        assert found == [name for name in SECTIONS if name != section]


def test_set_without_anomalies(images, tmp_path):
    odd = [{**image, "ap": None, "auroc": None, "fpr95": None} for image in images]
    page = Page(html_of(bare(odd), tmp_path))
    assert page.sections() == ["metrics", "images"]
    assert "undefined: the ground truth holds no anomalous pixel." in page.text
    assert page.tables["Metrics of each image in percent"][1][3:] == ["undefined"] * 3


def test_evaluation_of_nothing(tmp_path):
    content = bare([])
    content.update(num_images=0, pixels={"known": 0, "anomalous": 0, "ignored": 0})
    page = Page(html_of(content, tmp_path))
    assert page.sections() == ["metrics"]
    assert "no known and no anomalous pixel" in page.text


def test_head_says_how_the_numbers_were_computed(page):
    for fact in (
        "9,950,000 known, 50,000 anomalous (0.50 %), 123,456 ignored",
        "pooled: all pixels of all images together",
        "exact: every pixel is ranked by its own score",
        "95 % bootstrap over images, 1,000 resamples",
        "ood_seg 0.1.0, commit 0123abc",
        "2026-01-02T03:04:05+00:00",
    ):
        assert fact in page.text


def test_facts_that_differ_have_the_label_of_their_method(images, tmp_path):
    two = [
        evaluation(images),
        {**evaluation(images, method="max softmax"), "commit": None},
    ]
    text = Page(html_of(two, tmp_path)).text
    assert (
        "energy: ood_seg 0.1.0, commit 0123abc; max softmax: ood_seg 0.1.0, commit unknown" in text
    )
    assert text.count("2026-01-02T03:04:05+00:00") == 1


def test_notes_of_the_evaluation_are_shown(images, tmp_path):
    content = {**evaluation(images), "notes": ["AUROC is <far> below 0.5"]}
    page = Page(html_of(content, tmp_path))
    assert "AUROC is <far> below 0.5" in page.text
    assert ("p", {"class": "notice", "role": "note"}) in page.elements


def test_methods_on_other_pixels_are_not_silently_compared(images, tmp_path):
    other = evaluation(images, method="max softmax")
    other["pixels"] = {**other["pixels"], "known": 7}
    text = Page(html_of([evaluation(images), other], tmp_path)).text
    assert "not evaluated on the same pixels; do not compare them" in text


def test_tables_hold_the_values(page, images):
    tables = page.tables
    assert [row[:3] for row in tables["Pixel metrics in percent"][1:]] == [
        ["AUROC ↑", "90.00", "87.00 to 93.00"],
        ["AP ↑", "16.00", "11.00 to 21.00"],
        ["FPR95 ↓", "38.00", "32.00 to 44.00"],
        ["best F1 ↑", "22.00", "18.00 to 26.00"],
    ]
    assert tables["Components by sIoU threshold"][1] == ["0.25", "1,021", "12", "33", "97.84"]
    assert tables["Operating points"][1] == ["fpr 5%", "-5.5", "61.00", "5.00", "3.25", "-"]
    names = [row[0] for row in tables["Metrics of each image in percent"][1:]]
    assert names == [image["name"] for image in images]


def test_image_table_of_a_large_set_keeps_the_worst_and_the_best(tmp_path):
    entry = {"known": 9, "anomalous": 1, "auroc": 0.5, "fpr95": 0.5}
    many = [{**entry, "name": f"n{k}", "ap": k / 1000} for k in range(1000)]
    page = Page(html_of(evaluation(many), tmp_path, max_images=0))
    names = [row[0] for row in page.tables["Metrics of each image in percent"][1:]]
    assert names == [f"n{k}" for k in (*range(250), *range(750, 1000))]
    assert "The worst and best 500 of 1000 images." in page.text


def test_names_cannot_break_out(images, tmp_path):
    evil = "\"'><script>alert(1)</script>&amp; ü"
    odd = [{**images[0], "name": evil}]
    content = evaluation(odd, method=evil)
    content.update(data_set=evil, protocol={"name": evil, "description": evil})
    page = Page(html_of([content, {**content, "method": "b"}], tmp_path))
    assert [tag for tag, _ in page.elements].count("script") == 1
    assert page.tables["Metrics of each image in percent"][1][0] == evil
    assert any(evil in attrs.get("alt", "") for tag, attrs in page.elements if tag == "img")
    assert f"{evil}: {evil}" in page.text


def test_nothing_is_loaded_from_elsewhere(images, tmp_path):
    text = html_of([evaluation(images), evaluation(images, method="max softmax")], tmp_path)
    page = Page(text)
    for tag, attrs in page.elements:
        for name in ("src", "href", "data", "srcset", "action", "poster"):
            assert attrs.get(name, "#").startswith(("#", "data:")), (tag, name, attrs[name][:60])
    without_images = re.sub(r"data:image/jpeg;base64,[^\"]*", "", text)
    assert not re.search(r"https?:|url\(|@import|//[a-z]", without_images)
    assert "default-src 'none'" in text


def test_every_image_chart_and_header_has_a_text(page):
    assert all(attrs.get("alt") for tag, attrs in page.elements if tag == "img")
    for tag, attrs in page.elements:
        if tag == "svg":
            assert attrs.get("aria-label") or attrs.get("aria-hidden") == "true"
        if tag == "th":
            assert attrs["scope"] in ("col", "row")
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a"]
    assert links == [f"#{section}" for section in page.sections()]


def test_methods_side_by_side(images, tmp_path):
    second = evaluation(images[:3], method="max softmax", shift=1.0)
    second["components"] = None
    tables = Page(html_of([evaluation(images), second], tmp_path)).tables
    rows = tables["Pixel metrics in percent; in brackets 95 % intervals"]
    assert rows[2][:2] == ["max softmax", "70.00 [67.00, 73.00]"]
    assert "Operating points, max softmax" in tables
    assert "Components by sIoU threshold, energy" in tables
    assert "Components by sIoU threshold, max softmax" not in tables
    by_image = tables["Metrics of each image in percent"]
    assert by_image[0][3:] == [
        "AP ↑ energy",
        "FPR95 ↓ energy",
        "AP ↑ max softmax",
        "FPR95 ↓ max softmax",
    ]
    assert by_image[4][5:] == ["-", "-"]
