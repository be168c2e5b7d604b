"""Lost and Found, SegmentMeIfYouCan and StreetHazards: layouts, values, numbers."""

import numpy as np
import pytest
import trees

pytest.importorskip("mmseg")

from mmengine.registry import init_default_scope

import ood_seg.datasets.transforms.loading  # noqa: F401  (registers the transforms)
from ood_seg.datasets import LostAndFoundDataset, SMIYCDataset, StreetHazardsDataset

LOADING = [{"type": "LoadCheckedImage"}, {"type": "LoadCheckedLabels"}]


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope("mmseg")


def build(kind, root, **more):
    return kind(data_root=str(root), **{"expected_count": None, "pipeline": LOADING, **more})


def first_row(dataset, count=4):
    return dataset[0]["gt_seg_map"][0, :count].tolist()


@pytest.mark.parametrize("split", ["train", "test"])
def test_lost_and_found_values(tmp_path, split):
    trees.lost_and_found_native(tmp_path)
    # On disk 0, 1, 2, 255 and 0, 1, 2, 17: road is known, obstacles are anomalous.
    dataset = build(LostAndFoundDataset, tmp_path, split=split)
    assert first_row(dataset) == [255, 0, 1, 255]
    assert f"/{split}/" in dataset.get_data_info(0)["img_path"]
    assert first_row(build(LostAndFoundDataset, tmp_path, split=split, labels="ids")) == [
        255,
        0,
        1,
        1,
    ]
    assert len(dataset) == 1


def test_lost_and_found_arguments_and_numbers(tmp_path):
    trees.lost_and_found_native(tmp_path)
    for split, count in (("test", 1203), ("train", 1036)):
        with pytest.raises(ValueError, match=f"expected {count} image and mask pairs, found 1"):
            LostAndFoundDataset(data_root=str(tmp_path), split=split)
    assert len(build(LostAndFoundDataset, tmp_path, expected_count=1)) == 1
    with pytest.raises(ValueError, match="split: expected one of train, test; got 'val'"):
        build(LostAndFoundDataset, tmp_path, split="val")
    with pytest.raises(ValueError, match="labels: expected one of trainIds, ids; got 'x'"):
        build(LostAndFoundDataset, tmp_path, labels="x")
    next((tmp_path / "gtCoarse" / "test").rglob("*labelTrainIds.png")).unlink()
    with pytest.raises(ValueError, match=r"1 images without a mask .*02_Hanns(.|\n)*prepare-data"):
        build(LostAndFoundDataset, tmp_path)


def test_lost_and_found_unknown_value(tmp_path):
    trees.lost_and_found_native(tmp_path)
    mask = next((tmp_path / "gtCoarse" / "test").rglob("*labelIds.png"))
    trees.mask(mask, (0, 1, 201))
    with pytest.raises(ValueError, match=r"labelIds\.png: unknown label values 201 \(16 pixels\)"):
        build(LostAndFoundDataset, tmp_path, labels="ids")[0]


@pytest.mark.parametrize(
    ("track", "suffix", "folder"),
    [
        ("RoadAnomaly21", ".jpg", "dataset_AnomalyTrack"),
        ("RoadObstacle21", ".webp", "dataset_ObstacleTrack"),
    ],
)
def test_smiyc_takes_the_labelled_images(tmp_path, track, suffix, folder):
    trees.smiyc(tmp_path / folder, suffix=suffix)
    dataset = build(SMIYCDataset, tmp_path / folder, track=track)
    names = [dataset.get_data_info(i)["img_path"].rpartition("/")[2] for i in range(len(dataset))]
    assert names == [f"validation0000{suffix}", f"validation0001{suffix}"]
    assert first_row(dataset, 3) == [0, 1, 255]
    # The folder around the track serves as well.
    assert len(build(SMIYCDataset, tmp_path, track=track)) == 2


def test_smiyc_reports_how_many_images_are_left_out(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr("ood_seg.datasets.anomaly.print_log", lambda text, **_: logged.append(text))
    build(SMIYCDataset, trees.smiyc(tmp_path), track="RoadAnomaly21")
    assert logged == ["SMIYCDataset: 3 images without a published mask are left out"]


def test_smiyc_problems(tmp_path):
    trees.smiyc(tmp_path)
    (tmp_path / "images" / "validation0001.jpg").unlink()
    with pytest.raises(ValueError) as caught:
        SMIYCDataset(data_root=str(tmp_path), track="RoadObstacle21")
    for text in ("1 masks without an image", "validation0001_labels", "expected 30", "found 1"):
        assert text in str(caught.value)
    with pytest.raises(ValueError, match="track: expected one of RoadAnomaly21, RoadObstacle21"):
        build(SMIYCDataset, tmp_path, track="anomaly")


def test_smiyc_numbers(tmp_path):
    trees.smiyc(tmp_path, labelled=10)
    assert len(SMIYCDataset(data_root=str(tmp_path), track="RoadAnomaly21", pipeline=LOADING)) == 10


def test_street_hazards(tmp_path):
    trees.street_hazards(tmp_path)
    dataset = build(StreetHazardsDataset, tmp_path)
    assert len(dataset) == 2
    # On disk 1, 4, 13, 14: only the last is the anomaly, unlabelled and "other" are known.
    assert first_row(dataset) == [0, 0, 0, 1]
    assert len(build(StreetHazardsDataset, tmp_path / "test")) == 2
    ignore_other = {**dict.fromkeys(range(1, 14), 0), 4: 255, 14: 1}
    assert first_row(build(StreetHazardsDataset, tmp_path, label_map=ignore_other)) == [
        0,
        255,
        0,
        1,
    ]
    with pytest.raises(ValueError, match="expected 1500 image and mask pairs, found 2"):
        StreetHazardsDataset(data_root=str(tmp_path))
    with pytest.raises(ValueError, match=r"folder not found: .*nowhere"):
        build(StreetHazardsDataset, tmp_path / "nowhere")


def test_street_hazards_training_value_zero_is_unknown(tmp_path):
    trees.street_hazards(tmp_path, count=1)
    trees.mask(next((tmp_path / "test" / "annotations").rglob("*.png")), (0, 14))
    with pytest.raises(ValueError, match=r"unknown label values 0 \(24 pixels\)"):
        build(StreetHazardsDataset, tmp_path)[0]


def test_every_raw_value_has_one_meaning():
    from ood_seg.datasets.label_maps import LOST_AND_FOUND_IDS, STREET_HAZARDS_LABELS

    ids = np.array([LOST_AND_FOUND_IDS.get(value, -1) for value in range(256)])
    assert np.flatnonzero(ids == 1).tolist() == list(range(2, 201))
    assert np.flatnonzero(ids == 0).tolist() == [1]
    assert np.flatnonzero(ids == 255).tolist() == [0, 255]
    assert [value for value, label in STREET_HAZARDS_LABELS.items() if label == 1] == [14]
