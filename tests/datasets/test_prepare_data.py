"""`ood-seg prepare-data` on miniature archives: every dataset, twice, and the converters."""

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import trees
from prepared_sets import BY_NAME, PREPARABLE, coco, files, pixels, png, prepare, sources_of

from ood_seg.commands import main
from ood_seg.datasets.setup.converters import composed_image, train_ids

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# Written out by hand from the published table: label id -> trainId.
TRAIN_ID = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11}
TRAIN_ID |= {25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def overlay_of(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize("name", PREPARABLE)
def test_every_set_from_its_archives_twice(tmp_path, capsys, name):
    if name == "coco":
        pytest.importorskip("pycocotools")
    sources, expected = sources_of(name, tmp_path)
    out = tmp_path / "out" / name
    assert prepare(name, *sources, out=out, options=("--partial", "--dry-run")) == 0
    assert not out.exists()
    assert f"{len(expected)} files to write" in " ".join(capsys.readouterr().out.split())
    assert prepare(name, *sources, out=out) == 0
    assert files(out) == expected
    before = stamps(out)
    capsys.readouterr()
    # Again from the archives, and again without any: nothing is left to be done.
    for again in (sources, []):
        assert prepare(name, *again, out=out) == 0
        assert "nothing to do: every file is in its place" in capsys.readouterr().out
        assert stamps(out) == before
    # Without --partial the published number counts.
    assert prepare(name, *sources, out=tmp_path / "other", options=()) == 1
    assert not (tmp_path / "other").exists()
    output = capsys.readouterr().out
    assert "problem: expected" in output
    assert "nothing was written (--partial" in output
    assert all(archive in output for archive in BY_NAME[name].archives)


def test_folders_serve_as_well_as_archives(tmp_path):
    tree = trees.smiyc(tmp_path / "tree", labelled=10)
    assert prepare("smiyc_road_anomaly21", tree, out=tmp_path / "out", options=()) == 0
    assert len(files(tmp_path / "out")) == 23


def test_tar_gz(tmp_path):
    packed = trees.tarred(tmp_path / "a.tar.gz", trees.street_hazards(tmp_path / "tree"))
    assert prepare("street_hazards", packed, out=tmp_path / "out") == 0
    assert len(files(tmp_path / "out")) == 4


def test_default_place_is_that_of_check_data(tmp_path, monkeypatch):
    monkeypatch.setenv("OOD_SEG_DATA", str(tmp_path / "data"))
    tree = trees.road_anomaly(tmp_path / "tree")
    assert main(["prepare-data", "road_anomaly", str(tree), "--partial"]) == 0
    assert (tmp_path / "data" / "road_anomaly" / "RoadAnomaly_jpg" / "frame_list.json").is_file()


def test_the_native_evaluation_config_reads_what_was_prepared(tmp_path, monkeypatch):
    pytest.importorskip("mmseg")
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmseg.registry import DATASETS

    import ood_seg.datasets.transforms.loading  # noqa: F401
    from ood_seg.datasets import FishyscapesDataset, RoadAnomalyDataset, SMIYCDataset  # noqa: F401

    init_default_scope("mmseg")
    monkeypatch.setenv("OOD_SEG_DATA", str(tmp_path / "data"))
    config = Config.fromfile(CONFIGS / "_base_" / "datasets" / "evaluation_native.py")
    assert set(config.test_dataloader) == set(config.test_evaluator)
    for key, loader in config.test_dataloader.items():
        name = {"fs_static": "fs_static_v3", "cityscapes_val": "cityscapes"}.get(key, key)
        sources, _ = sources_of(name, tmp_path / key)
        assert main(["prepare-data", name, *map(str, sources), "--partial"]) == 0
        if name == "cityscapes":
            assert loader.dataset.data_root == str(tmp_path / "data" / "cityscapes")
            continue
        dataset = DATASETS.build({**loader.dataset, "expected_count": None})
        labels = {
            int(v) for sample in dataset for v in sample["data_samples"].gt_sem_seg.data.unique()
        }
        assert {0, 1} <= labels <= {0, 1, 255}, name
        assert len(dataset) == 2, name
        with pytest.raises(ValueError, match="image and mask pairs, found 2"):
            DATASETS.build(loader.dataset)


# What is made --------------------------------------------------------------------------------


def test_train_ids_follow_the_published_table():
    ids = np.arange(34).reshape(2, 17)
    made = train_ids(png(ids), "a.png")
    expected = [TRAIN_ID.get(value, 255) for value in range(34)]
    assert made.ravel().tolist() == expected
    assert made.dtype == np.uint8
    with pytest.raises(ValueError, match=r"a\.png: unknown label values 34 \(1 pixels\)"):
        train_ids(png([[34, 7]]), "a.png")


def test_cityscapes_in_place_and_published_train_ids_are_kept(tmp_path):
    tree = trees.cityscapes_ids(tmp_path, ("aachen_000000_000019", "ulm_000000_000019"))
    ulm = tree / "gtFine" / "train" / "ulm" / "ulm_000000_000019_gtFine_labelTrainIds.png"
    trees.mask(ulm, (3, 255))
    before = ulm.read_bytes()
    assert prepare("cityscapes", out=tree) == 0
    assert ulm.read_bytes() == before
    made = pixels(next((tree / "gtFine" / "train" / "aachen").glob("*labelTrainIds.png")))
    assert made[0, :6].tolist() == [255, 0, 1, 18, 13, 255]


def test_train_ids_alone_are_a_label(tmp_path, capsys):
    assert prepare("cityscapes", out=trees.cityscapes(tmp_path)) == 0
    assert "found 1" in capsys.readouterr().out


def test_composed_images_equal_a_loop():
    rng = np.random.default_rng(1)
    base = rng.integers(0, 256, (3, 4, 3))
    overlay = rng.integers(-300, 301, (3, 4, 3)).astype(np.int16)
    made = composed_image(overlay_of(rgb=overlay), png(base), "o.npz", "i.png")[..., ::-1]
    for y, x, c in np.ndindex(base.shape):
        assert made[y, x, c] == min(255, max(0, int(base[y, x, c]) + int(overlay[y, x, c])))
    assert (made == 0).any()
    assert (made == 255).any()
    # No difference, no change; and unsigned overlays do not wrap.
    zero = composed_image(overlay_of(rgb=np.zeros((3, 4, 3), np.uint8)), png(base), "o", "i")
    assert np.array_equal(zero[..., ::-1], base)
    white = composed_image(overlay_of(rgb=np.full((3, 4, 3), 255, np.uint8)), png(base), "o", "i")
    assert (white == 255).all()


def test_malformed_overlays_are_refused():
    base = png(np.zeros((3, 4, 3)))
    right = np.zeros((3, 4, 3), np.int16)
    nan = np.full((3, 4, 3), np.nan)
    for content in (
        b"no archive",
        overlay_of(rgb=right)[:-40],
        overlay_of(bgr=right),
        overlay_of(rgb=right[:2]),
        overlay_of(rgb=right[..., 0]),
        overlay_of(rgb=nan),
        overlay_of(rgb=np.zeros((3, 4, 3), bool)),
        overlay_of(rgb=np.array([{"a": 1}], dtype=object)),
        overlay_of(rgb=np.zeros((2000, 2000, 3), np.int16)),
    ):
        with pytest.raises(ValueError, match=r"overlay o\.npz: expected an npz archive with one"):
            composed_image(content, base, "o.npz", "i.png")
    with pytest.raises(ValueError, match=r"image i\.png: not an image"):
        composed_image(overlay_of(rgb=right), b"<html>", "o.npz", "i.png")


def test_static_composed_from_the_archives(tmp_path):
    overlays = trees.static_overlays(tmp_path / "tree")
    trees.static_images(tmp_path / "city")
    packed = trees.zipped(tmp_path / "fs_val_v2.zip", overlays)
    out = tmp_path / "out"
    assert prepare("fs_static_v2", packed, tmp_path / "city", out=out, options=()) == 0
    stem = "0007_frankfurt_000001_000007"
    image = next((tmp_path / "city").rglob("frankfurt_000001_000007_leftImg8bit.png"))
    overlay = np.load(overlays / f"{stem}_rgb.npz")["rgb"].astype(int)
    expected = np.minimum(255, np.maximum(0, pixels(image).astype(int) + overlay))
    assert np.array_equal(pixels(out / "fs_val_v2" / f"{stem}_rgb.png"), expected)
    pytest.importorskip("mmseg")
    from ood_seg.datasets import FishyscapesDataset

    assert len(FishyscapesDataset(data_root=str(out), subset="static")) == 30


def test_coco_outlier_lists_give_what_the_whole_file_gives(tmp_path, capsys):
    pytest.importorskip("pycocotools")
    pytest.importorskip("mmseg")
    from ood_seg.datasets import CocoObjects
    from ood_seg.datasets.coco_rules import PEBAL_EXCLUDED_CATEGORIES

    assert "train" not in PEBAL_EXCLUDED_CATEGORIES
    assert len(PEBAL_EXCLUDED_CATEGORIES) == 8
    root = coco(tmp_path)
    assert prepare("coco", out=root, options=("--partial", "--pebal")) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "3 of 4 images and 3 of 4 instances can be pasted" in output
    assert "1 of 4 images and 1 of 4 instances can be pasted" in output
    notes = root / "annotations"
    pebal = {
        "union": True,
        "min_image_size": 480,
        "min_area": 1,
        "exclude": PEBAL_EXCLUDED_CATEGORIES,
    }
    for name, options in (("outliers", {}), ("outliers_pebal", pebal)):
        whole = CocoObjects(notes / "instances_train2017.json", root / "train2017", **options)
        short = CocoObjects(notes / f"{name}_train2017.json", root / "train2017", **options)
        assert short.records == whole.records
        assert len(short) == (1 if options else 3)


def test_coco_file_names_that_lead_out(tmp_path, capsys):
    pytest.importorskip("pycocotools")
    trees.image(tmp_path / "secret.jpg")
    names = ["000000000001.jpg", "../../secret.jpg", "/etc/passwd", "000000000004.jpg"]
    assert prepare("coco", out=coco(tmp_path / "coco", names)) == 1
    output = capsys.readouterr().out
    assert "2 file names in" in output
    assert "'../../secret.jpg', '/etc/passwd'" in output


def test_pebal_is_an_option_of_coco(tmp_path, capsys):
    assert prepare("cityscapes", out=tmp_path, options=("--pebal",)) == 2
    assert re.search(r"--pebal .*coco, got cityscapes", capsys.readouterr().err)


def test_list_names_every_set_and_archive(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # addresses stay on one line
    assert main(["prepare-data", "--list"]) == 0
    output = capsys.readouterr().out
    for dataset in BY_NAME.values():
        assert any(dataset.source in line for line in output.splitlines())
        assert dataset.name in output
        for archive, content in dataset.archives.items():
            assert f"{archive}: {content}" in output
    assert "Nothing is downloaded" in output


def test_the_guide_names_every_set_and_archive():
    guide = (CONFIGS.parent / "docs" / "data.md").read_text(encoding="utf-8")
    for name in PREPARABLE:
        assert name in guide.replace("`_v", "`fs_static_v"), name
        assert all(archive in guide for archive in BY_NAME[name].archives), name


@pytest.mark.slow
def test_real_train_ids_and_coco(real_data, tmp_path, capsys):
    pytest.importorskip("pycocotools")
    source, tree = real_data / "cityscapes", tmp_path / "tree"
    shutil.copytree(source, tree)
    for path in tree.rglob("*labelTrainIds.png"):
        path.unlink()
    assert prepare("cityscapes", tree, out=tmp_path / "out", options=("--partial", "--quick")) == 0
    made = sorted((tmp_path / "out").rglob("*labelTrainIds.png"))
    assert len(made) == 9
    for path in made:
        published = source / path.relative_to(tmp_path / "out")
        assert np.array_equal(pixels(path), pixels(published))
    assert (
        prepare("coco", real_data / "coco", out=tmp_path / "c", options=("--partial", "--pebal"))
        == 0
    )
    output = " ".join(capsys.readouterr().out.split())
    assert "117 of 128 images and 584 of 939 instances can be pasted" in output
    assert "30 of 128 images and 200 of 939 instances can be pasted" in output
