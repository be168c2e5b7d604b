"""CamVid and KITTI in Cityscapes classes; mmseg's own sets under the checked loading."""

import numpy as np
import pytest
import trees

pytest.importorskip("mmseg")

from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from ood_seg.datasets import CamVidDataset, KittiSemanticsDataset
from ood_seg.datasets.label_maps import CAMVID_TO_TRAIN_IDS, CITYSCAPES_IDS_TO_TRAIN_IDS
from ood_seg.labels import CITYSCAPES_CLASSES

LOADING = [{"type": "LoadCheckedImage"}, {"type": "LoadCheckedLabels"}]
OF_MMSEG = [{"type": "LoadCheckedImage"}, {"type": "LoadCheckedLabels", "num_classes": 19}]
FOLDERS = {"img_path": "train", "seg_map_path": "trainannot"}


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope("mmseg")


def camvid(root, names=("f1", "f2"), **more):
    for name in names:
        trees.image(root / "train" / f"{name}.png")
        trees.mask(root / "trainannot" / f"{name}.png", (3, 0, 11, 8))
    return CamVidDataset(data_root=str(root), data_prefix=FOLDERS, pipeline=LOADING, **more)


def test_camvid_classes_by_name():
    names = "sky building pole road sidewalk vegetation traffic_sign fence car person rider"
    expected = [CITYSCAPES_CLASSES.index(name.replace("_", " ")) for name in names.split()]
    assert [CAMVID_TO_TRAIN_IDS[raw] for raw in range(11)] == expected
    assert CAMVID_TO_TRAIN_IDS[11] == 255


def test_cityscapes_ids_by_name():
    pairs = {7: "road", 8: "sidewalk", 17: "pole", 23: "sky", 24: "person", 26: "car", 31: "train"}
    for label_id, name in pairs.items():
        assert CITYSCAPES_CLASSES[CITYSCAPES_IDS_TO_TRAIN_IDS[label_id]] == name
    void = {raw for raw, label in CITYSCAPES_IDS_TO_TRAIN_IDS.items() if label == 255}
    assert void == {0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30}


def test_camvid_frame_in_cityscapes_classes(tmp_path):
    dataset = camvid(tmp_path)
    assert len(dataset) == 2
    assert dataset.metainfo["classes"] == CITYSCAPES_CLASSES
    assert dataset[0]["gt_seg_map"][0, :4].tolist() == [0, 10, 255, 13]


def test_chosen_classes_work_on_top_of_the_raw_labels(tmp_path):
    dataset = camvid(tmp_path, metainfo={"classes": ["car", "road"]})
    assert dataset[0]["gt_seg_map"][0, :4].tolist() == [1, 255, 255, 0]
    assert dataset.metainfo["palette"] == [[0, 0, 142], [128, 64, 128]]


def test_all_problems_in_one_error(tmp_path):
    trees.image(tmp_path / "train" / "lonely.png")
    trees.mask(tmp_path / "trainannot" / "orphan.png")
    with pytest.raises(ValueError) as caught:
        camvid(tmp_path, names=("f1",), expected_count=367)
    message = str(caught.value)
    assert message.startswith("CamVidDataset: 3 problem(s)")
    for text in ("lonely.png", "orphan.png", "expected 367 image and mask pairs, found 1"):
        assert text in message


def test_missing_folder_and_empty_set_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"folder not found: .*trainannot"):
        CamVidDataset(data_root=str(tmp_path), data_prefix=FOLDERS)
    for name in FOLDERS.values():
        (tmp_path / name).mkdir()
    with pytest.raises(ValueError, match="no image and mask pairs found"):
        CamVidDataset(data_root=str(tmp_path), data_prefix=FOLDERS)


def test_kitti_ids_become_train_ids(tmp_path):
    trees.image(tmp_path / "training" / "image_2" / "000000_10.png")
    trees.mask(tmp_path / "training" / "semantic" / "000000_10.png", (7, 26, 4, 33))
    folders = {"img_path": "training/image_2", "seg_map_path": "training/semantic"}
    dataset = KittiSemanticsDataset(data_root=str(tmp_path), data_prefix=folders, pipeline=LOADING)
    assert dataset[0]["gt_seg_map"][0, :4].tolist() == [0, 13, 255, 18]


def test_mmseg_cityscapes_names_an_unknown_value(tmp_path):
    trees.cityscapes(tmp_path, values=(0, 26))
    config = {
        "type": "CityscapesDataset",
        "data_root": str(tmp_path),
        "data_prefix": {"img_path": "leftImg8bit/train", "seg_map_path": "gtFine/train"},
        "pipeline": OF_MMSEG,
    }
    with pytest.raises(ValueError, match=r"labelTrainIds\.png: unknown label values 26 \(24 pix"):
        DATASETS.build(config)[0]


def test_mmseg_cityscapes_with_chosen_classes_keeps_void(tmp_path):
    trees.cityscapes(tmp_path, values=(0, 18, 255))
    config = {
        "type": "CityscapesDataset",
        "data_root": str(tmp_path),
        "data_prefix": {"img_path": "leftImg8bit/train", "seg_map_path": "gtFine/train"},
        "metainfo": {"classes": ["bicycle"]},
        "pipeline": OF_MMSEG,
    }
    assert DATASETS.build(config)[0]["gt_seg_map"][0, :3].tolist() == [255, 0, 255]


REAL = {
    "cityscapes train": (8, "CityscapesDataset", "cityscapes", "leftImg8bit/train gtFine/train"),
    "cityscapes val": (2, "CityscapesDataset", "cityscapes", "leftImg8bit/val gtFine/val"),
    "bdd train": (
        16,
        "BDD100KDataset",
        "bdd100k",
        "images/10k/train labels/sem_seg/masks/train",
    ),
    "bdd val": (8, "BDD100KDataset", "bdd100k", "images/10k/val labels/sem_seg/masks/val"),
    "camvid train": (367, "CamVidDataset", "camvid", "train trainannot"),
    "camvid val": (101, "CamVidDataset", "camvid", "val valannot"),
    "camvid test": (233, "CamVidDataset", "camvid", "test testannot"),
    "kitti": (5, "KittiSemanticsDataset", "kitti_semantics", "training/image_2 training/semantic"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_sets_have_their_number_and_known_labels(real_data, name):
    count, kind, folder, places = REAL[name]
    images, masks = places.split()
    dataset = DATASETS.build(
        {
            "type": kind,
            "data_root": str(real_data / folder),
            "data_prefix": {"img_path": images, "seg_map_path": masks},
            # Without the image, so that its size (wrong for KITTI here) is left out of this.
            "pipeline": OF_MMSEG[1:],
        }
    )
    assert len(dataset) == count
    counts = sum(np.bincount(s["gt_seg_map"].ravel(), minlength=256) for s in dataset)
    assert not counts[19:255].any()
    # Road is the most frequent or second most frequent class of every driving set.
    assert 0 in np.argsort(counts[:19])[-2:]


def test_real_camvid_frame_checked_by_hand(real_data):
    # Frame 0001TP_006690: sky at the top middle, road in the lower middle.
    from PIL import Image

    raw = np.asarray(Image.open(real_data / "camvid/trainannot/0001TP_006690.png"))
    dataset = CamVidDataset(
        data_root=str(real_data / "camvid"), data_prefix=FOLDERS, pipeline=LOADING
    )
    assert dataset.get_data_info(0)["img_path"].endswith("0001TP_006690.jpg")
    labels = dataset[0]["gt_seg_map"]
    for value, train_id in ((3, 0), (0, 10), (11, 255), (8, 13)):
        assert (raw == value).any()
        assert (labels[raw == value] == train_id).all()
    assert labels[350, 240] == 0
