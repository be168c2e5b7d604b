"""`ood-seg check-data --config`: the sets that a config names, wherever they stand in it."""

import shutil

import numpy as np
import prepared_sets
import pytest
import trees
from PIL import Image

from ood_seg.commands import main

CONFIG = """
custom_imports = dict(imports=["ood_seg.datasets.anomaly_folder"])
half = dict(type="AnomalyFolderDataset", data_root={root!r}, pipeline=[],
            data_prefix=dict(img_path="images", seg_map_path="labels_masks"),
            label_map={{0: 0, 1: 1, 255: 255}})
plain = dict(type="CityscapesDataset", data_root={cityscapes!r}, pipeline=[],
             data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"))
train_dataloader = dict(dataset=dict(type="RepeatDataset", times=2, dataset=dict(
    type="ConcatDataset", datasets=[plain])))
val_dataloader = dict(dataset=plain)
test_dataloader = dict(first=dict(dataset=half), second=dict(dataset={second}))
"""


def write_config(tmp_path, second="half"):
    trees.cityscapes(tmp_path / "cityscapes")
    path = tmp_path / "config.py"
    root, cityscapes = str(tmp_path / "half"), str(tmp_path / "cityscapes")
    path.write_text(CONFIG.format(root=root, cityscapes=cityscapes, second=second))
    return path


def test_command_on_a_config(tmp_path, capsys):
    pytest.importorskip("mmseg")
    trees.folder_pair(tmp_path / "half")
    path = write_config(tmp_path)
    assert main(["check-data", "--config", str(path)]) == 0
    output = capsys.readouterr().out
    # The set that val shares with train is listed once.
    assert output.count("CityscapesDataset") == 1
    assert output.count("AnomalyFolderDat") == 1
    next((tmp_path / "cityscapes").rglob("*labelTrainIds.png")).unlink()
    (tmp_path / "half" / "images" / "b.jpg").unlink()
    assert main(["check-data", "--config", str(path)]) == 1
    output = capsys.readouterr().out
    assert "1 masks not found" in output
    assert "1 masks without an image" in output


def test_command_on_a_config_with_an_unknown_type(tmp_path, capsys):
    pytest.importorskip("mmseg")
    trees.folder_pair(tmp_path / "half")
    path = write_config(tmp_path, second='dict(type="NoSuchDataset")')
    assert main(["check-data", "--config", str(path)]) == 2
    assert "no dataset of the type 'NoSuchDataset'" in capsys.readouterr().err
    assert main(["check-data", str(tmp_path), "--config", str(path)]) == 2
    assert "not both" in capsys.readouterr().err


@pytest.mark.parametrize("images", [True, False])
def test_command_on_a_shipped_recipe(images, tmp_path, monkeypatch, capsys):
    """Clean and pasted scenes are one set; what is pasted in training and validation is listed."""
    pytest.importorskip("mmseg")
    trees.cityscapes(tmp_path / "cityscapes")
    for kind in ("leftImg8bit", "gtFine"):  # of 500 scenes, one: the config takes every fifth
        folder = tmp_path / "cityscapes" / kind
        shutil.copytree(folder / "train", folder / "val")
    coco = prepared_sets.coco(tmp_path / "coco")
    if images:
        annotations = coco / "annotations"
        shutil.copytree(coco / "train2017", coco / "val2017")
        shutil.copy(
            annotations / "instances_train2017.json", annotations / "instances_val2017.json"
        )
    monkeypatch.setenv("OOD_SEG_DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    # Its validation and test sets are incomplete here in any case.
    assert main(["check-data", "--config", "oe_fcn-erfnet_40e_cityscapes-coco"]) == 1
    output = capsys.readouterr().out
    assert output.count("train.clean CityscapesDataset") == 1
    assert "train.pasted CityscapesDataset" not in output
    assert "train.pasted outliers" in output
    assert "fewer images than the `indices`" in output
    assert ("val outliers: " in output) is not images
    assert ("instances_val2017.json not found" in output) is not images


def cutouts(folder):
    """Three cut-outs with alpha."""
    folder.mkdir()
    for number in range(3):
        rgba = np.full((8, 9, 4), 200, np.uint8)
        rgba[:2, :, 3] = 0
        Image.fromarray(rgba).save(folder / f"{number}.png")
    return folder


def test_command_on_a_config_that_pastes_cutouts(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mmseg")
    monkeypatch.setenv("COLUMNS", "200")
    trees.folder_pair(tmp_path / "half")
    path, folder = write_config(tmp_path), cutouts(tmp_path / "cutouts")
    path.write_text(
        path.read_text()
        + "from_cutouts = dict(type='PasteOutliers', source=dict(type='CutoutFolder', "
        + f"img_dir={str(folder)!r}))\n"
        + "from_scene = dict(type='PasteOutliers', source=dict(type='ScenePieces'))\n"
        + "train_dataloader = dict(dataset=dict(plain, pipeline=[from_cutouts, from_scene]))\n"
    )
    assert main(["check-data", "--config", str(path)]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "train outliers" in output
    assert "3 cut-outs" in output
    Image.new("RGB", (4, 4)).save(folder / "opaque.png")
    Image.new("RGBA", (4, 4)).save(folder / "empty.png")
    assert main(["check-data", "--config", str(path)]) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert "2 cut-outs that cannot be pasted" in output
    assert "alpha" in output
    assert main(["check-data", "--quick", "--config", str(path)]) == 0
    path.write_text(path.read_text().replace("type='ScenePieces'", "type='ScenePeces'"))
    assert main(["check-data", "--quick", "--config", str(path)]) == 2
    assert "'ScenePeces' (did you mean 'ScenePieces'" in capsys.readouterr().err
