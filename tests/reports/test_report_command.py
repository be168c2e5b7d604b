"""`ood-seg report`: methods side by side, with the figure of their decisions."""

import json

import cv2
import numpy as np
import pytest
from report_samples import evaluation, write_maps

from ood_seg.commands import main
from ood_seg.visualization import DECISION_COLOURS

pytest.importorskip("matplotlib")


@pytest.fixture
def files(tmp_path):
    """Evaluations of two methods: one finds everything, the other nothing."""
    images = write_maps(tmp_path / "maps", 4)
    blind = []
    for image in images:
        scores = tmp_path / "blind" / f"{image['name']}.npy"
        scores.parent.mkdir(exist_ok=True)
        mask = cv2.imread(image["ground_truth"], cv2.IMREAD_UNCHANGED)
        np.save(image["scores"], np.where(mask == 1, 5.0, -9.0))
        np.save(scores, np.full(mask.shape, -100.0))
        blind.append({**image, "scores": str(scores)})
    first, second = tmp_path / "first" / "evaluation.json", tmp_path / "second.json"
    first.parent.mkdir()
    first.write_text(json.dumps(evaluation(images)))
    second.write_text(json.dumps(evaluation(blind, method="blind")))
    return first, second


def near(image: np.ndarray, colour) -> np.ndarray:
    return np.abs(image.astype(int) - colour).max(-1) < 60


def test_figure_shows_the_decision_of_each_method(files, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = [str(files[0].parent), str(files[1]), "--out", str(out), "--max-images", "3"]
    assert main(["report", *arguments]) == 0
    assert "decisions.png" in capsys.readouterr().out
    assert {"report.html", "report.md", "evaluations.json"} <= {p.name for p in out.iterdir()}
    figure = cv2.imread(str(out / "decisions.png"))[..., ::-1]
    figure = figure[: len(figure) * 9 // 10]  # above the legend
    width = figure.shape[1]
    left, right = figure[:, width // 2 : 3 * width // 4], figure[:, 3 * width // 4 :]
    found, missed = (DECISION_COLOURS[name] for name in ("found", "missed"))
    assert near(left, found).sum() > 10 * near(right, found).sum()
    assert near(right, missed).sum() > 10 * near(left, missed).sum()


def test_an_image_that_cannot_be_read_is_reported(files, tmp_path):
    content = json.loads(files[1].read_text())
    content["images"][0]["scores"] = str(tmp_path / "gone.npy")
    files[1].write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=r"decisions\.png: .*gone\.npy"):
        assert main(["report", str(files[1]), "--out", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("text", ["[1]", "{}", '{"schema": "ood_seg.evaluation/1"}', "no JSON"])
def test_other_files_are_refused_by_name(files, tmp_path, capsys, text):
    files[1].write_text(text)
    assert main(["report", *map(str, files), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "second.json" in error or "ood_seg.evaluation/1" in error
    assert not (tmp_path / "out" / "report.html").exists()


def test_datasets_are_not_mixed(files, tmp_path, capsys):
    content = json.loads(files[1].read_text())
    files[1].write_text(json.dumps({**content, "data_set": "another"}))
    assert main(["report", *map(str, files), "--out", str(tmp_path / "out")]) == 2
    assert "'another'" in capsys.readouterr().err
