"""`ood-seg prepare-data` on miniature archives: every set, twice, and everything that is wrong."""

import io
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trees
from PIL import Image

from ood_seg.commands import main
from ood_seg.datasets.archives import open_source
from ood_seg.datasets.derived_files import composed_picture, train_ids_picture
from ood_seg.datasets.known_sets import COCO, KNOWN_SETS
from ood_seg.datasets.preparing import make_plan, run_plan

BY_NAME = {known_set.name: known_set for known_set in (*KNOWN_SETS, COCO)}
PREPARABLE = [name for name, known_set in BY_NAME.items() if known_set.files]
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# Written out by hand from the published table: label id -> trainId.
TRAIN_ID = {7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11}
TRAIN_ID |= {25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18}


def prepare(name, *sources, out, options=("--partial",)):
    return main(["prepare-data", name, *map(str, sources), "--out", str(out), *options])


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def pixels(path):
    return np.asarray(Image.open(path))


def png(array):
    file = io.BytesIO()
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def overlay_of(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


# Every set -----------------------------------------------------------------------------------


def sources_of(name, tmp_path):
    """Archives of a set as published, in miniature; and the files that must come out."""
    tree, archive = tmp_path / "tree", tmp_path / "archives"
    if name == "cityscapes":
        trees.cityscapes_ids(tree)
        parts = [
            trees.zipped(archive / f"{part}.zip", tree / part, prefix=f"{part}/")
            for part in ("leftImg8bit", "gtFine")
        ]
        place, stem = "train/aachen", "aachen_000000_000019"
        labels = {f"gtFine/{place}/{stem}_gtFine_label{kind}.png" for kind in ("Ids", "TrainIds")}
        return parts, labels | {f"leftImg8bit/{place}/{stem}_leftImg8bit.png"}
    if name.startswith("fs_static"):
        version = name[-1]
        trees.static_overlays(tree / "overlays", count=2)
        trees.static_images(tree / "city", count=2)
        stems = [f"fs_val_v{version}/{n:04d}_frankfurt_000001_{n:06d}" for n in (0, 1)]
        overlays = trees.zipped(archive / f"fs_val_v{version}.zip", tree / "overlays")
        written = {f"{stem}_{kind}.png" for stem in stems for kind in ("labels", "rgb")}
        return [overlays, trees.zipped(archive / "left.zip", tree / "city")], written
    if name == "fs_lost_and_found":
        trees.lost_and_found(tree)
        labels = trees.zipped(archive / "labels.zip", tree / "fishyscapes_lostandfound")
        trees.image(tree / "leftImg8bit" / "test" / "a" / "a_000000_000001_leftImg8bit.png")
        images = trees.zipped(
            archive / "leftImg8bit.zip", tree / "leftImg8bit", prefix="leftImg8bit/"
        )
        return [labels, images], {f for f in files(tree) if "/a/" not in f}
    if name == "coco":
        coco(tree)
        packed = trees.zipped(archive / "train2017.zip", tree / "train2017", prefix="train2017/")
        notes = trees.zipped(archive / "notes.zip", tree / "annotations", prefix="annotations/")
        return [packed, notes], files(tree) | {"annotations/outliers_train2017.json"}
    builders = {
        "road_anomaly": trees.road_anomaly,
        "lost_and_found": trees.lost_and_found_native,
        "smiyc_road_anomaly21": trees.smiyc,
        "smiyc_road_obstacle21": lambda root: trees.smiyc(root, suffix=".webp"),
        "street_hazards": trees.street_hazards,
    }
    builders[name](tree)
    if name == "street_hazards":
        packed = trees.tarred(tmp_path / "streethazards_test.tar", tree)
    else:
        packed = trees.zipped(archive / "a.zip", tree, prefix="dataset_X/")
    unneeded = ("_color.png", "instanceIds.png")
    return [packed], {file for file in files(tree) if not file.endswith(unneeded)}


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
    assert "nothing was written (--partial accepts a part of the set)" in output
    assert all(archive.name in output for archive in BY_NAME[name].archives)


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
    made = np.asarray(Image.open(io.BytesIO(train_ids_picture(png(ids), "a.png"))))
    expected = [TRAIN_ID.get(value, 255) for value in range(34)]
    assert made.ravel().tolist() == expected
    assert made.dtype == np.uint8
    with pytest.raises(ValueError, match=r"a\.png: unknown label values 34 \(1 pixels\)"):
        train_ids_picture(png([[34, 7]]), "a.png")


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


def test_composed_pictures_equal_a_loop(tmp_path):
    rng = np.random.default_rng(1)
    base = rng.integers(0, 256, (3, 4, 3))
    overlay = rng.integers(-300, 301, (3, 4, 3)).astype(np.int16)
    made = composed_picture(overlay_of(rgb=overlay), png(base), "o.npz", "i.png")
    made = np.asarray(Image.open(io.BytesIO(made)))
    for y, x, c in np.ndindex(base.shape):
        assert made[y, x, c] == min(255, max(0, int(base[y, x, c]) + int(overlay[y, x, c])))
    assert (made == 0).any()
    assert (made == 255).any()
    # No difference, no change; and unsigned overlays do not wrap.
    zero = composed_picture(overlay_of(rgb=np.zeros((3, 4, 3), np.uint8)), png(base), "o", "i")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(zero))), base)
    white = composed_picture(overlay_of(rgb=np.full((3, 4, 3), 255, np.uint8)), png(base), "o", "i")
    assert (np.asarray(Image.open(io.BytesIO(white))) == 255).all()


def test_overlays_that_are_none_are_refused():
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
            composed_picture(content, base, "o.npz", "i.png")
    with pytest.raises(ValueError, match=r"image i\.png: not a picture"):
        composed_picture(overlay_of(rgb=right), b"<html>", "o.npz", "i.png")


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


# COCO ----------------------------------------------------------------------------------------


def coco(root, names=None):
    """Write four images: a dog, a dog and a car, a dog in a small image, nothing."""
    sizes = [(480, 500), (480, 500), (479, 500), (480, 500)]
    images, annotations = [], []
    for index, (height, width) in enumerate(sizes, start=1):
        name = names[index - 1] if names else f"{index:012d}.jpg"
        images.append({"id": index, "file_name": name, "height": height, "width": width})
        trees.image(root / "train2017" / f"{index:012d}.jpg", (height, width))
    box = [[10, 10, 90, 10, 90, 90, 10, 90]]
    for image_id, category in ((1, 18), (2, 18), (2, 3), (3, 18)):
        annotations.append(
            {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": category,
                "segmentation": box,
            }
        )
    categories = [{"id": 3, "name": "car"}, {"id": 18, "name": "dog"}]
    others = ("person", "bicycle", "motorcycle", "bus", "truck", "traffic light", "stop sign")
    categories += [{"id": 100 + index, "name": name} for index, name in enumerate(others)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path = root / "annotations" / "instances_train2017.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return root


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
    assert "--pebal is an option of the set coco, got cityscapes" in capsys.readouterr().err


# What is wrong -------------------------------------------------------------------------------


def test_missing_spare_and_misnamed_files_come_together(tmp_path, capsys):
    tree = trees.static_overlays(tmp_path / "tree", count=31)
    stem = "{0:04d}_frankfurt_000001_{0:06d}"
    (tree / f"{stem.format(3)}_rgb.npz").unlink()
    (tree / f"{stem.format(4)}_rgb.npz").rename(tree / "overlay4.npz")
    trees.mask(tree / "frankfurt_5_labels.png")
    city = trees.static_images(tmp_path / "city", count=30)
    next(city.rglob("*_000007_leftImg8bit.png")).unlink()
    packed = trees.zipped(tmp_path / "fs_val_v3.zip", tree)
    out = tmp_path / "out"
    assert prepare("fs_static_v3", packed, city, out=out, options=()) == 1
    output = capsys.readouterr().out
    for text in (
        "expected 30 files of kind label, found 31",
        "2 files are not named as published: ",
        "fs_val_v3.zip:overlay4.npz",
        "fs_val_v3.zip:frankfurt_5_labels.png",
        "1 labels without an image: ",
        f"fs_val_v3.zip:{stem.format(7)}_labels.png",
        f"2 labels without an overlay: {packed}:{stem.format(3)}_labels.png, {packed}:",
        "expected: fs_val_v3.zip: 30 labels and 30 overlays",
        "from https://fishyscapes.com",
    ):
        assert text in output
    assert not out.exists()
    # A part is accepted with all that belongs together: 31 labels less three.
    assert prepare("fs_static_v3", packed, city, out=out) == 0
    assert len(files(out)) == 2 * 28


def test_images_and_labels_without_partner_are_not_taken(tmp_path, capsys):
    tree = trees.street_hazards(tmp_path / "tree", count=3)
    (tree / "test" / "images" / "test" / "t5" / "0.png").unlink()
    (tree / "test" / "annotations" / "test" / "t5" / "1.png").unlink()
    packed = trees.tarred(tmp_path / "a.tar", tree)
    assert prepare("street_hazards", packed, out=tmp_path / "out") == 0
    output = capsys.readouterr().out
    assert f"1 labels without an image: {packed}:test/annotations/test/t5/0.png" in output
    assert f"1 images without a label: {packed}:test/images/test/t5/1.png" in output
    assert {file.rpartition("/")[2] for file in files(tmp_path / "out")} == {"2.png"}


def test_refused_entries_are_no_matter_of_partial(tmp_path, capsys):
    tree = trees.smiyc(tmp_path / "tree")
    packed = trees.zipped(tmp_path / "a.zip", tree)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("../../evil.png", "x")
        archive.writestr("images/../../../images/up.jpg", "x")
    assert prepare("smiyc_road_anomaly21", packed, out=tmp_path / "a" / "b" / "out") == 1
    output = capsys.readouterr().out
    assert "problem: " in output
    outside = "'../../evil.png', 'images/../../../images/up.jpg'"
    assert f"a.zip: 2 entries refused, paths out of the folder: {outside}" in output
    assert not (tmp_path / "a").exists()


def test_archives_that_declare_too_much(tmp_path, capsys, monkeypatch):
    packed = trees.zipped(tmp_path / "a.zip", trees.smiyc(tmp_path / "tree"))
    monkeypatch.setattr("ood_seg.datasets.set_files.FileRules.limit", 1000)
    assert prepare("smiyc_road_anomaly21", packed, out=tmp_path / "out") == 1
    assert "more than this set can have; refused" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_limits_leave_room_for_the_published_sizes():
    for name in PREPARABLE:
        rules = BY_NAME[name].files
        assert rules.limit >= 1e9
        assert rules.limit >= 3e9 * rules.gigabytes


def test_wrong_label_values_are_named_and_the_others_written(tmp_path, capsys):
    stems = ("aachen_000000_000019", "ulm_000000_000019", "ulm_000001_000019")
    tree = trees.cityscapes_ids(tmp_path / "tree", stems)
    trees.mask(tree / "gtFine" / "train" / "ulm" / f"{stems[1]}_gtFine_labelIds.png", (7, 99))
    trees.image(tree / "gtFine" / "train" / "ulm" / f"{stems[2]}_gtFine_labelIds.png")
    out = tmp_path / "out"
    assert prepare("cityscapes", tree, out=out) == 1
    output = capsys.readouterr().out
    for text in (
        f"gtFine/train/ulm/{stems[1]}_gtFine_labelTrainIds.png not written: ",
        "unknown label values 99 (24 pixels)",
        f"gtFine/train/ulm/{stems[2]}_gtFine_labelTrainIds.png not written: ",
        "expected one channel of class indices",
    ):
        assert text in output
    assert {name for name in files(out) if "TrainIds" in name} == {
        f"gtFine/train/aachen/{stems[0]}_gtFine_labelTrainIds.png"
    }


@pytest.mark.parametrize(
    ("name", "tree", "values"),
    [
        ("smiyc_road_anomaly21", trees.smiyc, (0, 2)),
        ("street_hazards", trees.street_hazards, (1, 15)),
        ("road_anomaly", trees.road_anomaly, (0, 1)),
        ("lost_and_found", trees.lost_and_found_native, (0, 3)),
        ("fs_lost_and_found", trees.lost_and_found, (0, 2)),
    ],
)
def test_wrong_label_values_are_found_in_the_result(tmp_path, capsys, name, tree, values):
    root = tree(tmp_path / "tree")
    endings = (
        "_labels_semantic.png",
        "t5/0.png",
        "labels_semantic.png",
        "TrainIds.png",
        "labels.png",
    )
    label = next(
        root / file
        for file in sorted(files(root))
        if file.endswith(endings) and "images" not in file
    )
    trees.mask(label, values)
    assert prepare(name, root, out=tmp_path / "out") == 1
    output = capsys.readouterr().out
    assert f"unknown label values {values[1]} (24 pixels)" in output
    assert label.name in output


def test_other_content_in_the_place_is_never_overwritten(tmp_path, capsys):
    tree = trees.road_anomaly(tmp_path / "tree")
    out = tmp_path / "out"
    assert prepare("road_anomaly", tree, out=out) == 0
    cut = out / "frames" / "cow.jpg"
    trees.cut(cut)
    before = cut.read_bytes()
    capsys.readouterr()
    assert prepare("road_anomaly", tree, out=out) == 1
    output = capsys.readouterr().out
    assert "1 files stand in the folder with another content than is given; remove them" in output
    assert "cow.jpg, given" in output
    assert cut.read_bytes() == before
    # Removed, it is fetched again, alone.
    cut.unlink()
    assert prepare("road_anomaly", tree, out=out) == 0
    assert "1 files to write" in capsys.readouterr().out
    assert cut.stat().st_size > len(before)


def test_files_given_twice(tmp_path, capsys):
    tree = trees.road_anomaly(tmp_path / "tree")
    packed = trees.zipped(tmp_path / "a.zip", tree)
    assert prepare("road_anomaly", packed, tree, out=tmp_path / "out") == 1
    output = capsys.readouterr().out
    assert "5 files are given twice: " in output
    assert f"{packed}:frames/cow.jpg and {tree}:frames/cow.jpg" in output


def test_versions_of_static_are_not_mixed_up(tmp_path, capsys):
    packed = trees.zipped(tmp_path / "fs_val_v1.zip", trees.static_overlays(tmp_path / "t", 2))
    city = trees.static_images(tmp_path / "city", 2)
    assert prepare("fs_static_v3", packed, city, out=tmp_path / "out") == 1
    assert "is version 1 of the set, expected version 3" in capsys.readouterr().out
    (tmp_path / "t").rename(tmp_path / "fs_val_v2")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "fs_val_v2").rename(tmp_path / "downloads" / "fs_val_v2")
    assert prepare("fs_static_v3", tmp_path / "downloads", city, out=tmp_path / "out") == 1
    assert "downloads is version 2 of the set" in capsys.readouterr().out


def test_damaged_archives_leave_no_half_file(tmp_path, capsys):
    tree = trees.road_anomaly(tmp_path / "tree")
    packed = trees.zipped(tmp_path / "a.zip", tree)
    content = bytearray(packed.read_bytes())
    # Inside the data of cow.jpg, behind its header of 30 bytes and its name.
    content[content.index(b"frames/cow.jpg") + 60] ^= 255
    packed.write_bytes(content)
    out = tmp_path / "out"
    assert prepare("road_anomaly", packed, out=out) == 1
    output = capsys.readouterr().out
    assert "frames/cow.jpg not written: " in output
    assert files(out) == files(tree) - {"frames/cow.jpg"}


def plan_of(name, tmp_path, tree):
    source = open_source(tree)
    return make_plan(BY_NAME[name], [source], tmp_path / "out")


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path):
    tree = trees.road_anomaly(tmp_path / "tree")
    plan = plan_of("road_anomaly", tmp_path, tree)

    def stop(file):
        file.write(b"half")
        raise KeyboardInterrupt

    plan.actions[2] = replace(plan.actions[2], write=stop)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan)
    assert len(files(tmp_path / "out")) == 2
    assert prepare("road_anomaly", tree, out=tmp_path / "out") == 0
    assert files(tmp_path / "out") == files(tree)


def test_a_disk_that_refuses_is_said_in_one_message(tmp_path):
    plan = plan_of("road_anomaly", tmp_path, trees.road_anomaly(tmp_path / "tree"))

    def full(file):
        raise OSError(28, "No space left on device")

    plan.actions[1] = replace(plan.actions[1], write=full)
    with pytest.raises(ValueError, match=r"cannot write .*No space left.*run the command again"):
        run_plan(plan)
    assert len(files(tmp_path / "out")) == 1


def test_room_on_the_disk_is_asked_for_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 9))
    tree = trees.road_anomaly(tmp_path / "tree")
    assert prepare("road_anomaly", tree, out=tmp_path / "a" / "out") == 1
    assert "its disk has 0.00 GB free; make room" in capsys.readouterr().out
    assert not (tmp_path / "a").exists()


def test_nothing_is_written_through_links(tmp_path, capsys):
    tree = trees.road_anomaly(tmp_path / "tree")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "frames").symlink_to(tmp_path / "elsewhere")
    assert prepare("road_anomaly", tree, out=tmp_path / "out") == 1
    assert "4 places are refused" in capsys.readouterr().out
    assert files(tmp_path / "elsewhere") == set()


def test_wrong_archive(tmp_path, capsys):
    packed = trees.zipped(tmp_path / "a.zip", trees.street_hazards(tmp_path / "tree"))
    assert prepare("fs_lost_and_found", packed, out=tmp_path / "out") == 1
    output = capsys.readouterr().out
    assert "a.zip holds no file of fs_lost_and_found; expected https://fishyscapes.com" in output


def test_arguments(tmp_path, capsys):
    for arguments, text in (
        (["nonsense"], "got 'nonsense' (--list says more)"),
        ([], "give one of cityscapes, "),
        (["camvid", str(tmp_path)], "camvid needs no preparation; unpack it so that"),
        (["coco", "--out", str(tmp_path / "x")], "does not exist and no archive was given. coco"),
        (["coco", str(tmp_path / "y.zip")], "y.zip not found; give an archive or a folder"),
    ):
        assert main(["prepare-data", *arguments]) == 2
        assert text in capsys.readouterr().err


def test_list_names_every_set_and_archive(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["prepare-data", "--list"]) == 0
    output = capsys.readouterr().out
    for known_set in BY_NAME.values():
        assert known_set.name in output
        for archive in known_set.archives:
            assert f"{archive.name}: {archive.holds}, {archive.size}" in output
    assert "Nothing is downloaded" in output


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
