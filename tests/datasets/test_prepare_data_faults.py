"""`ood-seg prepare-data` with faulty archives, names, numbers, values, disks, arguments."""

import re
import shutil
import zipfile
from contextlib import ExitStack
from dataclasses import replace

import pytest
import trees
from prepared_sets import BY_NAME, PREPARABLE, files, prepare

from ood_seg.commands import main
from ood_seg.datasets.setup.preparing import make_plan, run_plan
from ood_seg.datasets.setup.published_dataset import PublishedDataset


def test_missing_spare_and_misnamed_files_are_reported_together(tmp_path, capsys):
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


def test_refused_entries_are_not_accepted_by_partial(tmp_path, capsys):
    tree = trees.smiyc(tmp_path / "tree")
    packed = trees.zipped(tmp_path / "a.zip", tree)
    with zipfile.ZipFile(packed, "a") as archive:
        archive.writestr("../../evil.png", "x")
        archive.writestr("images/../../../images/up.jpg", "x")
    assert prepare("smiyc_road_anomaly21", packed, out=tmp_path / "a" / "b" / "out") == 1
    output = capsys.readouterr().out
    assert "problem: " in output
    outside = "'../../evil.png', 'images/../../../images/up.jpg'"
    assert re.search(rf"a\.zip: 2 entries refused, .*: {re.escape(outside)}", output)
    assert not (tmp_path / "a").exists()


def test_archives_that_declare_too_much(tmp_path, capsys, monkeypatch):
    packed = trees.zipped(tmp_path / "a.zip", trees.smiyc(tmp_path / "tree"))
    monkeypatch.setattr(PublishedDataset, "limit", 1000)
    assert prepare("smiyc_road_anomaly21", packed, out=tmp_path / "out") == 1
    assert "more than this dataset can have; refused" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_limits_leave_room_for_the_published_sizes():
    for name in PREPARABLE:
        dataset = BY_NAME[name]
        assert dataset.limit >= 1e9
        assert dataset.limit >= 3e9 * dataset.gigabytes > 0


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
    assert "1 files exist" in output
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


def test_other_versions_of_static_are_refused(tmp_path, capsys):
    packed = trees.zipped(tmp_path / "fs_val_v1.zip", trees.static_overlays(tmp_path / "t", 2))
    city = trees.static_images(tmp_path / "city", 2)
    assert prepare("fs_static_v3", packed, city, out=tmp_path / "out") == 1
    assert "is version 1 of the dataset, expected version 3" in capsys.readouterr().out
    (tmp_path / "t").rename(tmp_path / "fs_val_v2")
    (tmp_path / "downloads").mkdir()
    (tmp_path / "fs_val_v2").rename(tmp_path / "downloads" / "fs_val_v2")
    assert prepare("fs_static_v3", tmp_path / "downloads", city, out=tmp_path / "out") == 1
    assert "downloads is version 2 of the dataset" in capsys.readouterr().out


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
    return make_plan(BY_NAME[name], [tree], tmp_path / "out", ExitStack())


def test_an_interrupted_run_is_resumed(tmp_path):
    tree = trees.road_anomaly(tmp_path / "tree")
    plan = plan_of("road_anomaly", tmp_path, tree)

    def stop(path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    plan.new_files[2] = replace(plan.new_files[2], write=stop)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan)
    assert len(files(tmp_path / "out")) == 2
    assert prepare("road_anomaly", tree, out=tmp_path / "out") == 0
    assert files(tmp_path / "out") == files(tree)


def test_an_unwritable_disk_is_reported_in_one_message(tmp_path):
    plan = plan_of("road_anomaly", tmp_path, trees.road_anomaly(tmp_path / "tree"))

    def full(path):
        raise OSError(28, "No space left on device")

    plan.new_files[1] = replace(plan.new_files[1], write=full)
    with pytest.raises(ValueError, match=r"cannot write .*No space left"):
        run_plan(plan)
    assert len(files(tmp_path / "out")) == 1


def test_free_space_is_checked_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(9, 9, 9))
    tree = trees.road_anomaly(tmp_path / "tree")
    assert prepare("road_anomaly", tree, out=tmp_path / "a" / "out") == 1
    assert "0.00 GB free" in capsys.readouterr().out
    assert not (tmp_path / "a").exists()


def test_nothing_is_written_through_links(tmp_path, capsys):
    tree = trees.road_anomaly(tmp_path / "tree")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "frames").symlink_to(tmp_path / "elsewhere")
    assert prepare("road_anomaly", tree, out=tmp_path / "out") == 1
    assert "4 places lead out of" in capsys.readouterr().out
    assert files(tmp_path / "elsewhere") == set()


def test_wrong_archive(tmp_path, capsys):
    packed = trees.zipped(tmp_path / "a.zip", trees.street_hazards(tmp_path / "tree"))
    assert prepare("fs_lost_and_found", packed, out=tmp_path / "out") == 1
    output = capsys.readouterr().out
    assert "a.zip holds no file of fs_lost_and_found; expected https://fishyscapes.com" in output


def test_arguments(tmp_path, capsys):
    for arguments, text in (
        (["nonsense"], "'nonsense'"),
        ([], "give one of cityscapes, "),
        (["camvid", str(tmp_path)], "camvid needs no preparation; unpack it so that"),
        (["coco", "--out", str(tmp_path / "x")], "does not exist and no archive was given. coco"),
        (["coco", str(tmp_path / "y.zip")], "y.zip not found; give an archive or a folder"),
    ):
        assert main(["prepare-data", *arguments]) == 2
        assert text in capsys.readouterr().err
