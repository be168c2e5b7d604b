"""`evaluate --refine`: saved maps are refined as they are read; what does not fit is named."""

import json
from dataclasses import asdict

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from ood_seg.commands import main
from ood_seg.evaluation import MapFolders, Settings, evaluate_folders
from ood_seg.evaluation.refined_maps import RefinedMapReader, reader_of
from ood_seg.evaluation.saved_maps import MapReader
from ood_seg.io.map_origins import MapOrigin
from ood_seg.metrics import pixel_metrics
from ood_seg.refinement import Evidence, Refinement

SIZE = (40, 60)


@pytest.fixture
def data(tmp_path):
    """Maps, masks, images, predicted labels and saliency of four images."""
    rng = np.random.default_rng(0)
    for name in ("maps", "truth", "images", "labels", "saliency"):
        (tmp_path / name).mkdir()
    for index in range(4):
        truth = np.zeros(SIZE, np.uint8)
        truth[10:30, 10 + index : 30 + index] = 1
        scores = (rng.normal(size=SIZE) + truth).astype(np.float32)
        np.save(tmp_path / "maps" / f"{index}.npy", scores)
        content = {
            "truth": truth,
            "images": np.dstack([truth * 150 + 50] * 3),
            "labels": np.where(np.arange(60) < 40, 0, 13)[None].repeat(40, 0).astype(np.uint8),
            "saliency": truth * np.uint8(255),
        }
        for name, values in content.items():
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), values)
    MapOrigin("Energy", "net.pth").write(tmp_path / "maps")
    return tmp_path


def steps(data):
    return ["segments,weight=1", f"saliency={data / 'saliency'},weight=0.5"]


def command(data, *options):
    names = ("maps", "truth", "--images", "images", "--predicted-labels", "labels")
    paths = [one if one.startswith("--") else str(data / one) for one in names]
    refine = [part for text in steps(data) for part in ("--refine", text)]
    return main(["evaluate", *paths, *refine, "--out", str(data / "out"), *options])


def test_metrics_are_those_of_refined_maps_and_the_record_reads_them_again(data):
    assert command(data, "--samples", "50", "--compare", str(data / "maps")) == 0
    content = json.loads((data / "out" / "evaluation.json").read_text())
    refine, maps, truths = Refinement.of(steps(data)), [], []
    for index in range(4):
        image, labels, truth = (
            cv2.imread(str(data / folder / f"{index}.png"), flag)
            for folder, flag in (("images", 1), ("labels", 0), ("truth", 0))
        )
        scores = np.load(data / "maps" / f"{index}.npy")
        maps.append(refine(scores, Evidence(image, labels, str(index))))
        truths.append(truth)
    expected = pixel_metrics(np.stack(maps), np.stack(truths))
    for name in ("auroc", "ap", "fpr95"):
        assert content["metrics"][name]["value"] == pytest.approx(expected[name], abs=1e-9)
    assert content["method"] == "maps+segments(weight=1)+saliency(weight=0.5)"
    assert content["origin"]["score"] == "Energy+segments(weight=1)+saliency(weight=0.5)"
    assert [one["type"] for one in content["origin"]["refinement"]] == ["segments", "saliency"]
    plain = pixel_metrics(
        np.stack([np.load(data / "maps" / f"{index}.npy") for index in range(4)]), np.stack(truths)
    )
    change = content["comparison"]["metrics"]["ap"]["difference"]
    assert change == pytest.approx(plain["ap"] - expected["ap"], abs=1e-6)
    reader = reader_of(content["reader"])
    found, _ = reader.read(data / "maps" / "2.npy", data / "truth" / "2.png")
    np.testing.assert_array_equal(found, maps[2])
    assert type(reader_of(asdict(MapReader()))) is MapReader


def test_later_evidence_is_not_hidden_by_partial_results(data):
    def ap():
        assert command(data, "--samples", "0") == 0
        content = json.loads((data / "out" / "evaluation.json").read_text())
        return content["metrics"]["ap"]["value"]

    before = ap()
    for file in (data / "saliency").iterdir():
        cv2.imwrite(str(file), np.zeros(SIZE, np.uint8))
    assert ap() < before


def test_maps_without_their_images_are_all_named(data, capsys):
    for index in (1, 3):
        (data / "images" / f"{index}.png").unlink()
    assert command(data) == 2
    message = capsys.readouterr().err
    assert "no image for the score map of 1" in message
    assert "no image for the score map of 3" in message
    folders = MapFolders(data / "maps", data / "truth")
    with pytest.raises(ValueError, match=r"segments needs the image.*--images"):
        evaluate_folders(folders, Settings(), refine="segments")


def test_a_partial_folder_and_maps_that_are_not_finite_are_named(data):
    (data / "saliency" / "2.png").unlink()
    refine = Refinement.of(f"saliency={data / 'saliency'},weight=1,known=none").record()
    reader = RefinedMapReader(refinement=refine)
    with pytest.raises(ValueError, match=r"2: .*saliency.*no 2\.png or 2\.npy"):
        reader.read(data / "maps" / "2.npy", data / "truth" / "2.png")
    np.save(data / "maps" / "0.npy", np.full(SIZE, np.nan, np.float32))
    with pytest.raises(ValueError, match=r"0\.npy: 2400 NaN"):
        reader.read(data / "maps" / "0.npy", data / "truth" / "0.png")
