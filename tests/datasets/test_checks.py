"""`ood-seg check-data` and the checks below it, on miniature trees with one fault each."""

import json
import re
import unicodedata
import zipfile

import numpy as np
import pytest
import trees
from PIL import Image

from ood_seg.commands import main
from ood_seg.commands.check_data import data_root
from ood_seg.datasets.label_maps import EVALUATION_LABELS
from ood_seg.datasets.listing import Listing, pair_by_stem, shorten
from ood_seg.datasets.setup.catalog import PUBLISHED_DATASETS
from ood_seg.datasets.setup.checks import check_checkpoint, check_in_root
from ood_seg.datasets.setup.pair_checks import check_images, check_pairs, image_header

BY_NAME = {dataset.name: dataset for dataset in PUBLISHED_DATASETS}


def pairs(root, **more):
    listing = pair_by_stem(root / "images", root / "labels_masks")
    return check_pairs(listing, EVALUATION_LABELS, **more)


def report(name, root, **more):
    return check_in_root(BY_NAME[name], root, **more)


def test_faultless_pairs_are_described(tmp_path):
    totals, calls = [], []

    def track(items, total):
        totals.append(total)
        for item in items:
            calls.append(item)
            yield item

    found, problems = pairs(trees.folder_pair(tmp_path), required=(0, 1), track=track)
    assert found == "2 pairs of 8x6, values 0..1, 255"
    assert problems == []
    assert totals == [len(calls)] == [2]
    trees.image(tmp_path / "images" / "c.jpg", (5, 5))
    trees.mask(tmp_path / "labels_masks" / "c.png", shape=(5, 5))
    assert pairs(tmp_path)[0].startswith("3 pairs of 2 sizes")


def test_composed_and_decomposed_names_pair(tmp_path):
    for folder, form in (("images", "NFC"), ("labels_masks", "NFD")):
        name = unicodedata.normalize(form, "Münchén.png")
        draw = trees.image if folder == "images" else trees.mask
        draw(tmp_path / folder / name, shape=(6, 8))
    listing = pair_by_stem(tmp_path / "images", tmp_path / "labels_masks")
    assert listing.problems == []
    assert len(listing.pairs) == 1


def test_every_fault_is_named_with_its_file(tmp_path):
    trees.folder_pair(tmp_path, stems=("fine", "bad_image", "bad_mask", "values", "size", "page"))
    images, masks = tmp_path / "images", tmp_path / "labels_masks"
    trees.cut(trees.image(images / "bad_image.jpg", (64, 64)))
    trees.mask(masks / "bad_image.png", shape=(64, 64))
    noise = np.random.default_rng(0).integers(0, 2, (64, 64))
    trees.cut(trees.mask(masks / "bad_mask.png", noise))
    trees.mask(masks / "values.png", (0, 1, 7, 9))
    trees.mask(masks / "size.png", shape=(6, 9))
    (images / "page.jpg").write_text("<html>")
    found, problems = pairs(tmp_path, expected_count=30)
    assert found.startswith("6 pairs of 2 sizes")
    text = "\n".join(problems)
    for part in (
        "expected 30 image and mask pairs, found 6",
        "2 images that cannot be read: ",
        "bad_image.jpg: truncated",
        "page.jpg: not an image",
        "1 masks that cannot be read: label image ",
        "bad_mask.png: truncated or damaged",
        "values.png: unknown label values 7 (12 pixels), 9 (12 pixels)",
        "size.png (height, width) (6, 9), its image (6, 8)",
    ):
        assert part in text
    assert "fine" not in text


def test_quick_reads_headers_alone(tmp_path):
    trees.folder_pair(tmp_path, values=(0, 7))
    trees.mask(tmp_path / "labels_masks" / "b.png", shape=(6, 9))
    found, problems = pairs(tmp_path, quick=True, required=(1,))
    assert found == "2 pairs of 8x6"
    assert [problem.partition(":")[0] for problem in problems] == [
        "1 masks of another size than their image"
    ]


def test_a_required_label_that_never_occurs(tmp_path):
    _, problems = pairs(trees.folder_pair(tmp_path, values=(0, 255)), required=(0, 1))
    assert problems == ["no mask has a pixel of label 1"]


def test_turned_photograph_has_the_size_as_loaded(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(tmp_path / "turned.jpg", exif=exif)
    assert image_header(tmp_path / "turned.jpg").shape == (8, 6)
    assert image_header(trees.image(tmp_path / "plain.jpg")).shape == (6, 8)


def test_cropped_images_of_kitti_are_no_problem(tmp_path):
    folder = tmp_path / "kitti_semantics" / "training"
    trees.image(folder / "image_2" / "a.png", (5, 7))
    trees.mask(folder / "semantic" / "a.png", (7, 33))
    found = report("kitti_semantics", tmp_path)
    assert found.state == "found"
    assert "1 masks of another size" in found.found[0]
    assert "fit_to_image" in found.found[0]


@pytest.mark.parametrize("orientation", [3, 6])
def test_images_turned_by_exif_are_named(tmp_path, orientation):
    trees.folder_pair(tmp_path, stems=("a",))
    exif = Image.Exif()
    exif[0x0112] = orientation
    next((tmp_path / "images").iterdir()).unlink()
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "a.jpg", exif=exif)
    for quick in (True, False):
        _, problems = pairs(tmp_path, quick=quick)
        assert re.search(
            rf"1 images with an EXIF orientation: .*a\.jpg \({orientation}\)", problems[0]
        )


def test_images_of_16_bits_are_named(tmp_path):
    Image.fromarray(np.full((6, 8), 4000, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((6, 8), 40, np.uint8)).save(tmp_path / "grey.png")
    (problem,) = check_images([tmp_path / "deep.png", tmp_path / "grey.png"])
    assert problem.startswith("1 images that cannot be read")
    assert "deep.png: expected 8 bits" in problem


def test_whole_file_with_bytes_behind_its_end_is_fine(tmp_path):
    path = trees.image(tmp_path / "padded.jpg")
    path.write_bytes(path.read_bytes() + bytes(1000))
    assert check_images([path]) == []


def test_long_lists_are_shortened():
    assert shorten(range(3)) == "0, 1, 2"
    assert shorten(range(25)).endswith("19 and 5 more")
    assert check_pairs(Listing(), {0: 0}) == ("0 pairs", ["no image and mask pairs found"])


def test_each_known_set_in_miniature(tmp_path):
    trees.cityscapes(tmp_path / "cityscapes")
    trees.image(tmp_path / "camvid" / "val" / "a.png")
    trees.mask(tmp_path / "camvid" / "valannot" / "a.png", (0, 3, 11))
    assert report("cityscapes", tmp_path).found == [
        "train: 1 pairs of 8x6, values 0, 18, 255 (2975 published)"
    ]
    camvid = report("camvid", tmp_path)
    assert camvid.found == ["val: 1 pairs of 8x6, values 0, 3, 11 (101 published)"]
    assert camvid.state == "found"
    assert report("bdd100k", tmp_path).state == "missing"
    (tmp_path / "bdd100k").mkdir()
    assert "nothing of the expected layout" in report("bdd100k", tmp_path).problems[0]


@pytest.mark.parametrize(
    ("name", "tree", "place"),
    [
        ("road_anomaly", trees.road_anomaly, "road_anomaly/RoadAnomaly_jpg"),
        ("road_anomaly", trees.processed, "road_anomaly"),
        ("fs_static", trees.folder_pair, "fs_static"),
        ("fs_static", trees.static, "fs_static"),
        ("fs_lost_and_found", trees.lost_and_found, "fs_lost_and_found"),
        ("fs_lost_and_found", trees.processed, "fishyscapes/LostAndFound"),
        ("fs_static_v3", trees.static, "fs_static_v3"),
        ("smiyc_road_anomaly21", trees.smiyc, "smiyc/dataset_AnomalyTrack"),
        ("smiyc_road_obstacle21", trees.smiyc, "smiyc/dataset_ObstacleTrack"),
        ("street_hazards", trees.street_hazards, "street_hazards"),
    ],
)
def test_evaluation_sets_lack_only_their_number(tmp_path, name, tree, place):
    tree(tmp_path / place)
    problems = report(name, tmp_path).problems
    assert len(problems) == 1
    assert problems[0].endswith("image and mask pairs, found 2")


def test_splits_and_labels_of_lost_and_found_are_listed_separately(tmp_path):
    trees.lost_and_found_native(tmp_path / "lost_and_found")
    trees.mask(next((tmp_path / "lost_and_found" / "gtCoarse").rglob("*labelIds.png")), (0, 1))
    found = report("lost_and_found", tmp_path)
    assert [line.partition(":")[0] for line in found.found] == [
        "train trainIds",
        "train ids",
        "test trainIds",
        "test ids",
    ]
    assert sum("expected 1203" in problem for problem in found.problems) == 2
    assert sum("no mask has a pixel of label 1" in problem for problem in found.problems) == 1


def test_images_left_out_are_reported(tmp_path):
    trees.smiyc(tmp_path / "smiyc" / "dataset_AnomalyTrack", hidden=100)
    found = report("smiyc_road_anomaly21", tmp_path).found
    assert found[1] == "100 images without a published mask are left out"


def test_cityscapes_without_train_ids_names_the_remedy(tmp_path):
    trees.cityscapes(tmp_path / "cityscapes")
    for path in (tmp_path / "cityscapes").rglob("*labelTrainIds.png"):
        path.rename(path.with_name(path.name.replace("labelTrainIds", "labelIds")))
    problems = report("cityscapes", tmp_path).problems
    assert "`ood-seg prepare-data cityscapes" in problems[0]


def test_checkpoint_files(tmp_path):
    whole = tmp_path / "whole.pth"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("data", np.random.default_rng(0).bytes(4000))
    assert check_checkpoint(whole) is None
    damaged = tmp_path / "damaged.pth"
    content = bytearray(whole.read_bytes())
    content[2000] ^= 255
    damaged.write_bytes(content)
    assert "damaged at data" in check_checkpoint(damaged)
    assert check_checkpoint(damaged, quick=True) is None
    (tmp_path / "empty.pth").touch()
    assert "is empty" in check_checkpoint(tmp_path / "empty.pth")
    (tmp_path / "cut.pth").write_bytes(whole.read_bytes()[:2000])
    assert "is cut off" in check_checkpoint(tmp_path / "cut.pth")


def test_command_on_an_empty_root(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OOD_SEG_CACHE", str(tmp_path / "cache"))
    assert main(["check-data", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    for name in [*BY_NAME, "weights"]:
        assert f"{name}: missing" in output
    assert "https://fishyscapes.com" in output


def coco(root, file_names=("1.jpg",), segmentations=()):
    """Write COCO annotations of the first image; images are written by the tests."""
    images = [
        {"id": i, "file_name": name, "height": 6, "width": 8} for i, name in enumerate(file_names)
    ]
    instances = [
        {"id": i, "image_id": 0, "category_id": 1, "iscrowd": 0, "segmentation": one}
        for i, one in enumerate(segmentations, 1)
    ]
    content = {"images": images, "annotations": instances, "categories": [{"id": 1, "name": "dog"}]}
    path = root / "coco" / "annotations" / "instances_train2017.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))


def test_command_on_a_root_without_faults(tmp_path, capsys):
    trees.cityscapes(tmp_path / "cityscapes")
    coco(tmp_path)
    trees.image(tmp_path / "coco" / "train2017" / "1.jpg")
    assert main(["check-data", str(tmp_path), "--quick"]) == 0
    assert main(["check-data", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "problems" not in output
    assert "1 images, 0 instances" in output


def test_masks_of_coco_are_checked(tmp_path, capsys):
    pytest.importorskip("pycocotools")
    whole, huge = [1, 1, 5, 1, 5, 5], [1, 1, 1e9, 1, 1e9, 1e9]
    trees.image(tmp_path / "coco" / "train2017" / "1.jpg")
    coco(tmp_path, segmentations=[whole, None])
    assert main(["check-data", str(tmp_path)]) == 0
    (tmp_path / "coco" / "annotations" / "instances_train2017.json").unlink()
    (tmp_path / "coco" / "annotations").rmdir()
    coco(tmp_path, segmentations=[whole, huge, None, huge])
    capsys.readouterr()
    assert main(["check-data", str(tmp_path), "--quick"]) == 0
    assert main(["check-data", str(tmp_path)]) == 1
    output = " ".join(capsys.readouterr().out.split())
    assert "2 masks in" in output
    assert "annotation 2" in output
    assert "annotation 4" in output


def test_command_names_faults_and_fails(tmp_path, capsys, monkeypatch):
    trees.cityscapes(tmp_path / "cityscapes", values=(0, 33))
    coco(tmp_path, file_names=("1.jpg", "2.jpg"))
    trees.cut(trees.image(tmp_path / "coco" / "train2017" / "1.jpg", (64, 64)))
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "net.pth").touch()
    monkeypatch.setenv("OOD_SEG_DATA", str(tmp_path))
    assert main(["check-data"]) == 1
    output = capsys.readouterr().out
    for text in (
        "unknown label values 33 (24 pixels)",
        "1 listed images not found",
        "1 images that cannot be read",
        "net.pth is empty",
        "https://www.cityscapes-dataset.com",
    ):
        assert text in output
    (tmp_path / "coco" / "annotations" / "instances_train2017.json").write_text("{")
    assert main(["check-data"]) == 1
    assert "is not valid JSON" in capsys.readouterr().out


def test_command_without_a_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("OOD_SEG_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["check-data"]) == 2
    assert "data folder data not found" in capsys.readouterr().err
    (tmp_path / "data").mkdir()
    assert data_root(None).name == "data"


def test_real_data(real_data):
    states = {name: report(name, real_data) for name in BY_NAME}
    sound = ("cityscapes", "camvid", "bdd100k", "road_anomaly", "fs_static")
    assert {name: states[name].problems for name in sound} == {name: [] for name in sound}
    assert states["camvid"].found[1] == "val: 101 pairs of 480x360, values 0..11"
    assert states["road_anomaly"].found == ["60 pairs of 1280x720, values 0, 2"]


def test_any_error_of_one_file_is_a_problem_of_this_file(tmp_path, monkeypatch):
    for name in "abc":
        trees.image(tmp_path / "images" / f"{name}.png")
    images = sorted((tmp_path / "images").iterdir())
    errors = {"a": MemoryError(), "b": OSError(5, "Input/output error", str(images[1]))}

    def require_whole(path):
        if path.stem in errors:
            raise errors[path.stem]

    monkeypatch.setattr("ood_seg.datasets.setup.pair_checks.require_whole", require_whole)
    (problem,) = check_images(images)
    assert problem.startswith("2 images that cannot be read: ")
    assert f"{images[0]}: MemoryError" in problem
    assert "Input/output error" in problem
    listing = Listing(pairs=[(image, image) for image in images])
    _, problems = check_pairs(listing, dict.fromkeys(range(256), 0))
    assert any(f"{images[0]}: MemoryError" in problem for problem in problems)
