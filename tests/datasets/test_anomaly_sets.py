"""Evaluation sets: both layouts of each, and everything wrong on disk in one error, by name."""

import json

import numpy as np
import pytest
import trees

pytest.importorskip("mmseg")

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import DATASETS

import ood_seg.datasets.transforms.loading  # noqa: F401  (registers the transforms)
from ood_seg.datasets import (
    AnomalyDataset,
    AnomalyFolderDataset,
    FishyscapesDataset,
    RoadAnomalyDataset,
)

LOADING = [{"type": "LoadCheckedImage"}, {"type": "LoadCheckedLabels"}]
FOLDERS = {"img_path": "images", "seg_map_path": "labels_masks"}
IDENTITY = {0: 0, 1: 1, 255: 255}


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope("mmseg")


def road(root, **more):
    return RoadAnomalyDataset(
        data_root=str(root), **{"expected_count": None, "pipeline": LOADING, **more}
    )


def fishyscapes(root, subset, **more):
    return FishyscapesDataset(
        data_root=str(root), subset=subset, **{"expected_count": 2, "pipeline": LOADING, **more}
    )


def folder(root, **more):
    given = {"data_prefix": FOLDERS, "label_map": IDENTITY, "pipeline": LOADING, **more}
    return AnomalyFolderDataset(data_root=str(root), **given)


def values(dataset):
    return sorted({int(v) for sample in dataset for v in np.unique(sample["gt_seg_map"])})


def names(dataset):
    return [dataset.get_data_info(i)["img_path"].rpartition("/")[2] for i in range(len(dataset))]


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png"])
def test_road_anomaly_published_tree(tmp_path, suffix):
    dataset = road(trees.road_anomaly(tmp_path, suffix=suffix))
    assert names(dataset) == [f"cow{suffix}", f"rock{suffix}"]
    assert values(dataset) == [0, 1]
    assert dataset[0]["gt_seg_map"][0, :4].tolist() == [0, 1, 0, 1]
    assert dataset.metainfo["classes"] == ("known", "anomaly")


def test_road_anomaly_processed_layout(tmp_path):
    dataset = road(trees.processed(tmp_path))
    assert names(dataset) == ["x.jpg", "y.jpg"]
    assert values(dataset) == [0, 1]
    assert len(road(tmp_path, layout="processed")) == 2
    with pytest.raises(ValueError, match=r"file not found: .*frame_list\.json"):
        road(tmp_path, layout="official")
    with pytest.raises(ValueError, match="layout: expected one of official, processed; got 'x'"):
        road(tmp_path, layout="x")


def test_mmseg_loading_gives_the_same_labels(tmp_path):
    dataset = road(trees.road_anomaly(tmp_path))
    ours = dataset[0]["gt_seg_map"]
    theirs = LoadAnnotations()(dataset.get_data_info(0))["gt_seg_map"]
    assert np.array_equal(ours, theirs)


def test_road_anomaly_value_one_is_unknown_in_the_published_tree(tmp_path):
    dataset = road(trees.road_anomaly(tmp_path))
    trees.mask(tmp_path / "frames" / "cow.labels" / "labels_semantic.png", (0, 1))
    with pytest.raises(ValueError, match=r"cow\.labels.*unknown label values 1 \(24 pixels\)"):
        dataset[0]


def test_road_anomaly_problems_are_reported_together(tmp_path):
    trees.road_anomaly(tmp_path, names=("cow", "rock", "dog"))
    (tmp_path / "frames" / "cow.jpg").unlink()
    (tmp_path / "frames" / "rock.labels" / "labels_semantic.png").unlink()
    listed = ["cow.jpg", "rock.jpg", "dog.jpg", "dog.jpg", "../secret.jpg", "/etc/passwd", 3]
    listed += ["..\\up.jpg", "C:\\x.jpg", ""]
    (tmp_path / "frame_list.json").write_text(json.dumps(listed))
    with pytest.raises(ValueError) as caught:
        road(tmp_path, expected_count=60)
    message = str(caught.value)
    for text in (
        "1 listed images not found: ",
        "cow.jpg",
        "1 masks not found: ",
        "rock.labels/labels_semantic.png",
        "listed more than once: dog.jpg",
        "'../secret.jpg', '/etc/passwd', 3, '..\\\\up.jpg'",
        "expected 60 image and mask pairs, found 1",
        "expected_count=None",
    ):
        assert text in message


@pytest.mark.parametrize(("content", "text"), [("{", "JSON"), ("{}", "expected a list")])
def test_road_anomaly_unusable_list_is_named(tmp_path, content, text):
    trees.road_anomaly(tmp_path)
    (tmp_path / "frame_list.json").write_text(content)
    with pytest.raises(ValueError, match=rf"frame_list\.json.*{text}"):
        road(tmp_path)


def test_road_anomaly_wants_its_sixty_frames(tmp_path):
    with pytest.raises(ValueError, match="expected 60 image and mask pairs, found 2"):
        RoadAnomalyDataset(data_root=str(trees.road_anomaly(tmp_path)))


def test_roots_are_checked(tmp_path):
    with pytest.raises(ValueError, match=r"1 problem.*\n.*folder not found: .*nowhere"):
        road(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"folder not found: .*nowhere"):
        fishyscapes(tmp_path / "nowhere", "static", expected_count=None)
    with pytest.raises(ValueError, match="data_root: expected a folder, got None"):
        RoadAnomalyDataset()
    with pytest.raises(ValueError, match="AnomalyFolderDataset"):
        road(trees.road_anomaly(tmp_path), data_prefix=FOLDERS)


def test_lost_and_found_published_names(tmp_path):
    dataset = fishyscapes(trees.lost_and_found(tmp_path), "lost_and_found")
    assert sorted(names(dataset)) == [
        "02_Hanns_Klemm_Str_44_000001_000200_leftImg8bit.png",
        "04_Maurener_Weg_8_000000_000030_leftImg8bit.png",
    ]
    assert values(dataset) == [0, 1, 255]


def test_lost_and_found_folders_elsewhere(tmp_path):
    trees.lost_and_found(tmp_path / "a")
    (tmp_path / "a" / "leftImg8bit").rename(tmp_path / "images")
    places = {"img_path": "../images", "seg_map_path": "fishyscapes_lostandfound"}
    assert len(fishyscapes(tmp_path / "a", "lost_and_found", data_prefix=places)) == 2


def test_lost_and_found_problems_are_reported_together(tmp_path):
    trees.lost_and_found(tmp_path)
    city = "04_Maurener_Weg_8"
    stem = f"{city}_000000_000030"
    trees.image(tmp_path / "leftImg8bit" / "test" / city / f"{stem}_leftImg8bit.png")
    trees.mask(tmp_path / "fishyscapes_lostandfound" / "0002_city_000000_000001_labels.png")
    trees.mask(tmp_path / "fishyscapes_lostandfound" / "odd_labels.png")
    with pytest.raises(ValueError) as caught:
        fishyscapes(tmp_path, "lost_and_found", expected_count="official")
    message = str(caught.value)
    for text in (
        "not named NNNN_CITY",
        "odd_labels.png",
        "0002_city_000000_000001_labels.png",
        "more than one image for one mask",
        "expected 100 image and mask pairs, found 1",
    ):
        assert text in message


@pytest.mark.parametrize("suffix", ["_rgb.png", "_rgb.jpg"])
def test_static_published_names_with_composed_images(tmp_path, suffix):
    dataset = fishyscapes(trees.static(tmp_path, suffix), "static")
    assert names(dataset)[0] == f"0000_frankfurt_000001_046504{suffix}"
    assert values(dataset) == [0, 1, 255]
    assert len(fishyscapes(tmp_path / "fs_val_v3", "static")) == 2


def test_static_overlays_that_were_never_composed(tmp_path):
    trees.static(tmp_path)
    for path in (tmp_path / "fs_val_v3").glob("*_rgb.png"):
        path.rename(path.with_suffix(".npz"))
    with pytest.raises(ValueError, match=r"holds 2 overlays .*Cityscapes val image.*prepare-data"):
        fishyscapes(tmp_path, "static")


def test_static_versions_are_never_guessed(tmp_path):
    trees.static(tmp_path)
    (tmp_path / "fs_val_v1").mkdir()
    with pytest.raises(ValueError, match="fs_val_v1, fs_val_v3: choose one"):
        fishyscapes(tmp_path, "static")
    chosen = {"seg_map_path": "fs_val_v3"}
    assert len(fishyscapes(tmp_path, "static", data_prefix=chosen)) == 2


@pytest.mark.parametrize(
    ("subset", "place"),
    [("static", "Static"), ("lost_and_found", "fs_lost_and_found"), ("static", ".")],
)
def test_fishyscapes_processed_layout(tmp_path, subset, place):
    trees.processed(tmp_path / place, suffix=".png")
    assert values(fishyscapes(tmp_path, subset)) == [0, 1]


def test_fishyscapes_arguments_and_counts(tmp_path):
    with pytest.raises(ValueError, match="subset: expected one of static, lost_and_found"):
        fishyscapes(tmp_path, "laf")
    trees.static(tmp_path)
    with pytest.raises(ValueError, match="expected 30 image and mask pairs, found 2"):
        FishyscapesDataset(data_root=str(tmp_path), subset="static")
    assert len(fishyscapes(tmp_path, "static", expected_count=None)) == 2


def test_folder_pair_with_declared_values(tmp_path):
    trees.folder_pair(tmp_path, values=(10, 200, 7))
    dataset = folder(tmp_path, label_map={10: 0, 200: 1, 7: 255}, expected_count=2)
    assert dataset[0]["gt_seg_map"][0, :3].tolist() == [0, 1, 255]
    # A mask of 0 and 255 must not pass as "known and ignored".
    trees.mask(tmp_path / "labels_masks" / "a.png", (10, 255))
    with pytest.raises(ValueError, match=r"a\.png: unknown label values 255 \(24 pixels\)"):
        dataset[0]


def test_folder_pair_with_endings(tmp_path):
    trees.image(tmp_path / "images" / "v1.webp")
    trees.image(tmp_path / "images" / "v2.JPG")
    for stem in ("v1", "v2"):
        trees.mask(tmp_path / "labels_masks" / f"{stem}_labels_semantic.png")
        trees.image(tmp_path / "labels_masks" / f"{stem}_labels_semantic_color.png")
    (tmp_path / "images" / "._v1.webp").touch()
    assert names(folder(tmp_path, seg_map_suffix="_labels_semantic.png")) == ["v1.webp", "v2.JPG"]
    with pytest.raises(ValueError, match="1 masks without an image"):
        folder(tmp_path, seg_map_suffix="_labels_semantic.png", img_suffix=".webp")


def test_folder_pair_problems_are_reported_together(tmp_path):
    trees.folder_pair(tmp_path)
    trees.image(tmp_path / "images" / "a.png")
    trees.image(tmp_path / "images" / "lonely.jpg")
    trees.mask(tmp_path / "labels_masks" / "orphan.png")
    with pytest.raises(ValueError) as caught:
        folder(tmp_path, expected_count=30)
    message = str(caught.value)
    assert "4 problem(s)" in message
    for text in ("same stem", "a.jpg", "lonely.jpg", "orphan.png", "expected 30", "found 2"):
        assert text in message


def test_folder_pair_empty_and_missing(tmp_path):
    with pytest.raises(ValueError, match=r"images\n.*folder not found: .*labels_masks"):
        folder(tmp_path)
    for name in FOLDERS.values():
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="no image and mask pairs found"):
        folder(tmp_path)
    with pytest.raises(ValueError, match=r"data_prefix: .*missing seg_map_path"):
        folder(tmp_path, data_prefix={"img_path": "images"})


@pytest.mark.parametrize("label_map", [{}, None, [0, 1], {0: 2}, {300: 0}, {"a": 0}])
def test_label_map_is_checked(tmp_path, label_map):
    with pytest.raises(ValueError, match="label_map: expected"):
        folder(trees.folder_pair(tmp_path), label_map=label_map)


def test_label_map_from_a_config_file_and_from_json(tmp_path):
    trees.folder_pair(tmp_path / "data")
    path = tmp_path / "config.py"
    path.write_text(
        f"data = dict(type='AnomalyFolderDataset', data_root={str(tmp_path / 'data')!r},"
        f" data_prefix=dict({', '.join(f'{k}={v!r}' for k, v in FOLDERS.items())}),"
        " label_map={0: 0, 1: 1, 255: 255})"
    )
    config = Config.fromfile(path)
    assert len(DATASETS.build(config.data)) == 2
    again = Config.fromstring(config.pretty_text, ".py")
    assert len(DATASETS.build(again.data)) == 2
    dataset = folder(tmp_path / "data", label_map={"0": 0, "1": 1, "255": 255})
    assert values(dataset) == [0, 1, 255]


def test_sizes_may_differ_within_a_set_but_not_within_a_pair(tmp_path):
    trees.folder_pair(tmp_path)
    trees.image(tmp_path / "images" / "wide.jpg", (5, 20))
    trees.mask(tmp_path / "labels_masks" / "wide.png", shape=(5, 20))
    dataset = folder(tmp_path)
    assert [sample["gt_seg_map"].shape for sample in dataset] == [(6, 8), (6, 8), (5, 20)]
    trees.mask(tmp_path / "labels_masks" / "wide.png", shape=(20, 5))
    with pytest.raises(ValueError, match=r"wide\.png.*\(5, 20\).*got \(20, 5\).*wide\.jpg"):
        dataset[2]


def test_indices_choose_after_the_count(tmp_path):
    trees.folder_pair(tmp_path, stems=("a", "b", "c"))
    assert names(folder(tmp_path, indices=[2, 0], expected_count=3)) == ["c.jpg", "a.jpg"]


def test_a_subclass_only_lists(tmp_path):
    with pytest.raises(NotImplementedError, match="AnomalyDataset must override list_samples"):
        AnomalyDataset(data_root=str(tmp_path))


def test_real_road_anomaly(real_data):
    dataset = road(real_data / "road_anomaly" / "RoadAnomaly_jpg", expected_count=60)
    counts = np.zeros(256, dtype=np.int64)
    for sample in dataset:
        counts += np.bincount(sample["gt_seg_map"].ravel(), minlength=256)
    assert {int(v): int(counts[v]) for v in np.flatnonzero(counts)} == {0: 49849587, 1: 5446413}


def test_real_fishyscapes_static(real_data):
    masks = [{"type": "LoadCheckedLabels"}]
    dataset = folder(real_data / "fs_static", expected_count=30, pipeline=masks)
    counts = np.zeros(256, dtype=np.int64)
    for sample in dataset:
        counts += np.bincount(sample["gt_seg_map"].ravel(), minlength=256)
    expected = {0: 52619094, 1: 732524, 255: 9562942}
    assert {int(v): int(counts[v]) for v in np.flatnonzero(counts)} == expected
