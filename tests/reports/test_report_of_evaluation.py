"""What an evaluation of saved maps gives is what the reports read."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from report_html import Page
from report_samples import write_maps

from ood_seg.evaluation.matching import MapPair
from ood_seg.evaluation.run import comparison, evaluate_maps
from ood_seg.evaluation.saved_maps import MapReader
from ood_seg.evaluation.settings import Settings
from ood_seg.io.json_files import write_json
from ood_seg.reports import write_reports


def pairs_of(images: list[dict]) -> list[MapPair]:
    return [MapPair(i["name"], Path(i["scores"]), Path(i["ground_truth"])) for i in images]


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """An evaluation with all that needs no class labels, as it is after a way through its file."""
    folder = tmp_path_factory.mktemp("evaluation")
    images = write_maps(folder / "first", 6)
    others = write_maps(folder / "second", 6)
    for image in others:
        np.save(image["scores"], -np.load(image["scores"]))
    settings = Settings(method="energy", data_set="drawn", samples=50, mode="streaming")
    files = {image["name"]: Path(image["image"]) for image in images}
    found = evaluate_maps(pairs_of(images), MapReader(), settings, images=files)
    other = evaluate_maps(pairs_of(others), MapReader(), replace(settings, method="inverted"))
    found.content["comparison"] = comparison(found, other, settings)
    write_json(folder / "evaluation.json", found.content)
    return json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))


def test_all_formats(content, tmp_path):
    paths = write_reports(content, tmp_path)
    page = Page(paths["html"].read_text(encoding="utf-8"))
    assert page.sections() == [
        "metrics",
        "comparison",
        "curves",
        "scores",
        "components",
        "calibration",
        "examples",
        "images",
    ]
    auroc = content["metrics"]["auroc"]
    header, row = page.tables["Pixel metrics in percent"][:2]
    assert row[1] == f"{100 * auroc['value']:.2f}"
    low, high = (float(part) for part in row[header.index("bounds")].split(" to "))
    assert low <= 100 * auroc["value"] <= high
    compared = page.tables["Paired comparison in percent"]
    assert compared[0][1:3] == ["energy", "inverted"]
    assert float(compared[1][2]) == pytest.approx(100 - float(compared[1][1]), abs=0.1)
    assert "streaming: scores are ranked in fine bins" in page.text
    with paths["csv"].open(newline="") as file:
        values = {row["metric"]: float(row["value"]) for row in csv.DictReader(file)}
    assert values == {name: entry["value"] for name, entry in content["metrics"].items()}
    assert json.loads(paths["json"].read_text(encoding="utf-8")) == content


def test_marked_points_are_the_metrics(tmp_path):
    images = write_maps(tmp_path / "maps", 4)
    settings = Settings(mode="exact", samples=0, calibration=None, track=None)
    found = evaluate_maps(pairs_of(images), MapReader(), settings).content
    assert found["mode"] == "exact"
    text = Page(write_reports(found, tmp_path, ["html"])["html"].read_text("utf-8")).text
    best_f1, fpr95 = (100 * found["metrics"][name]["value"] for name in ("best_f1", "fpr95"))
    assert f"best F1 {best_f1:.2f}\N{NO-BREAK SPACE}%: precision" in text
    assert f"{fpr95:.2f}\N{NO-BREAK SPACE}% of known pixels flagged at TPR 95" in text
