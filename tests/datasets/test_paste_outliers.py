"""The transform `PasteOutliers`: where its randomness comes from and what it leaves alone."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mmseg")

from mmengine.dataset import worker_init_fn
from mmseg.registry import TRANSFORMS
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from ood_seg.datasets.outlier_sources import CocoObjects
from ood_seg.datasets.transforms.paste_outliers import PasteOutliers
from ood_seg.labels import OUTLIER
from ood_seg.pasting import OutlierObject


class DrawnObjects:
    """Ten objects with an unpainted corner; the i-th one is painted in 100 + i."""

    def __init__(self, height: int = 4, width: int = 6) -> None:
        self.size = (height, width)

    def __len__(self) -> int:
        return 10

    def sample(self, rng: np.random.Generator) -> OutlierObject:
        mask = np.ones(self.size, bool)
        mask[0, 0] = False
        return OutlierObject(np.full((*self.size, 3), 100 + rng.integers(10), np.uint8), mask)


def scene(height: int = 32, width: int = 48, **more: Any) -> dict[str, Any]:
    labels = np.zeros((height, width), np.uint8)
    labels[: height // 2] = 255
    return {"img": np.zeros((height, width, 3), np.uint8), "gt_seg_map": labels, **more}


def paste(transform: PasteOutliers, **more: Any) -> np.ndarray:
    """The image of a scene after `transform`."""
    return transform(scene(**more))["img"]


def test_every_pasted_pixel_is_labelled_and_nothing_else_changes() -> None:
    np.random.seed(0)
    transform = PasteOutliers(DrawnObjects(), count=3)
    for _ in range(20):
        before = scene()
        results = transform(dict(before))
        pasted = results["gt_seg_map"] == OUTLIER
        np.testing.assert_array_equal(pasted, (results["img"] >= 100).all(axis=-1))
        assert 23 <= pasted.sum() <= 3 * 23
        assert results["num_outliers"] == 3
        np.testing.assert_array_equal(results["img"][~pasted], before["img"][~pasted])
        np.testing.assert_array_equal(results["gt_seg_map"][~pasted], before["gt_seg_map"][~pasted])
        # The arrays that came in were not written to.
        np.testing.assert_array_equal(before["img"], scene()["img"])
        np.testing.assert_array_equal(before["gt_seg_map"], scene()["gt_seg_map"])


def test_same_numpy_seed_same_scenes() -> None:
    transform = PasteOutliers(DrawnObjects())
    runs = []
    for _ in range(2):
        np.random.seed(5)
        runs.append([paste(transform) for _ in range(5)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0][0], runs[0][1])


class Scenes(Dataset):
    """The same scene, always through the same transform."""

    def __init__(self) -> None:
        self.transform = PasteOutliers(DrawnObjects())

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> np.ndarray:
        return paste(self.transform)


def seed_worker(worker_id: int) -> None:
    worker_init_fn(worker_id, num_workers=2, rank=0, seed=3)


def test_workers_differ_and_repeat() -> None:
    # Batches of one alternate between the two workers.
    loader = DataLoader(Scenes(), batch_size=1, num_workers=2, worker_init_fn=seed_worker)
    first, second = ([batch.numpy() for batch in loader] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert len({image.tobytes() for image in first}) == 4


def test_seeded_scenes_are_the_same_in_any_order() -> None:
    transform = PasteOutliers(DrawnObjects(), seed=1)
    names = [f"/data/{name}.png" for name in "abcde"]
    forwards = {name: paste(transform, img_path=name) for name in names}
    np.random.seed(99)
    backwards = {name: paste(transform, img_path=name) for name in reversed(names)}
    for name in names:
        np.testing.assert_array_equal(forwards[name], backwards[name])
    assert len({image.tobytes() for image in forwards.values()}) == 5
    # The folder says where the data lie today, not which scene it is.
    np.testing.assert_array_equal(
        paste(transform, img_path="elsewhere/a.png"), forwards["/data/a.png"]
    )


def test_seeded_scenes_depend_on_seed_index_and_name() -> None:
    keys = [{"sample_idx": 0}, {"sample_idx": 1}, {"sample_idx": 0, "img_path": "b.png"}]
    images = [
        paste(PasteOutliers(DrawnObjects(), seed=seed), **key) for seed in (0, 1) for key in keys
    ]
    assert len({image.tobytes() for image in images}) == 6
    with pytest.raises(KeyError, match="sample_idx"):
        paste(PasteOutliers(DrawnObjects(), seed=0))


def test_seeded_scenes_leave_the_global_state_alone() -> None:
    np.random.seed(0)
    state = np.random.get_state()[1].copy()
    paste(PasteOutliers(DrawnObjects(), seed=1), sample_idx=3)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_probability() -> None:
    np.random.seed(0)
    never = PasteOutliers(DrawnObjects(), probability=0)(scene())
    np.testing.assert_array_equal(never["img"], scene()["img"])
    np.testing.assert_array_equal(never["gt_seg_map"], scene()["gt_seg_map"])
    assert never["num_outliers"] == 0
    sometimes = PasteOutliers(DrawnObjects(), probability=0.3, count=1)
    assert 60 <= sum(sometimes(scene())["num_outliers"] for _ in range(300)) <= 120


def test_count_includes_both_ends() -> None:
    np.random.seed(0)
    transform = PasteOutliers(DrawnObjects(), count=(1, 3))
    assert {transform(scene())["num_outliers"] for _ in range(60)} == {1, 2, 3}


def test_native_size_is_kept_without_a_range() -> None:
    np.random.seed(0)
    transform = PasteOutliers(DrawnObjects(), count=1)
    assert {int((paste(transform) > 0).all(axis=-1).sum()) for _ in range(10)} == {23}


def extents(transform: PasteOutliers, repeats: int) -> list[tuple[int, int]]:
    """Rows and columns that one pasted object takes."""
    found = []
    for _ in range(repeats):
        pasted = transform(scene(64, 96))["gt_seg_map"] == OUTLIER
        found.append((int(pasted.any(axis=1).sum()), int(pasted.any(axis=0).sum())))
    return found


def test_size_range_is_the_longer_side_in_pixels_and_log_uniform() -> None:
    np.random.seed(0)
    widths = [
        w for _, w in extents(PasteOutliers(DrawnObjects(), count=1, size_range=(8, 32)), 200)
    ]
    assert min(widths) >= 8
    assert max(widths) <= 32
    # The middle of the logarithms is 16; uniform pixels would have 20 as median.
    assert 14 <= np.median(widths) <= 18
    tall = extents(PasteOutliers(DrawnObjects(12, 4), count=1, size_range=(24, 24)), 5)
    assert tall == [(24, 8)] * 5


def test_scale_range_is_relative_to_the_object() -> None:
    np.random.seed(0)
    found = extents(PasteOutliers(DrawnObjects(), count=1, scale_range=(2, 2)), 5)
    assert found == [(8, 12)] * 5


def test_scales_are_chosen_one_by_one_and_repeats_count() -> None:
    np.random.seed(0)
    transform = PasteOutliers(DrawnObjects(), count=1, scales=(0.5, 2, 2, 2))
    found = extents(transform, 200)
    assert set(found) == {(2, 3), (8, 12)}
    assert 30 <= found.count((2, 3)) <= 70  # a quarter of 200


@pytest.mark.parametrize(
    "sizes", [{}, {"size_range": (500, 900)}, {"scale_range": (3, 4)}], ids=str
)
def test_objects_larger_than_the_scene_are_scaled_to_fit(sizes: dict) -> None:
    np.random.seed(0)
    transform = PasteOutliers(DrawnObjects(200, 100), count=1, **sizes)
    assert extents(transform, 3) == [(64, 32)] * 3


def test_flip() -> None:
    np.random.seed(0)
    flipped = []
    for probability in (0, 1):
        transform = PasteOutliers(DrawnObjects(32, 48), count=1, flip_probability=probability)
        labels = transform(scene())["gt_seg_map"]
        flipped.append([labels[0, 0] == OUTLIER, labels[0, -1] == OUTLIER])
    assert flipped == [[False, True], [True, False]]


def test_raw_images_reproduce_the_off_by_one_of_the_released_code(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "1.png")
    square = [[4, 3, 9, 3, 9, 8, 4, 8]]
    content = {
        "categories": [{"id": 1, "name": "cat"}],
        "images": [{"id": 1, "file_name": "1.png", "height": 20, "width": 30}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": square}],
    }
    (tmp_path / "cats.json").write_text(json.dumps(content))
    source = CocoObjects(tmp_path / "cats.json", tmp_path, exclude=(), min_area=1)
    results = PasteOutliers(source, raw_probability=1)(scene())
    np.testing.assert_array_equal(results["img"], pixels[..., ::-1])
    expected = np.zeros((20, 30), np.uint8)
    expected[3:8, 4:9] = OUTLIER
    np.testing.assert_array_equal(results["gt_seg_map"], expected)

    np.random.seed(0)
    mixed = PasteOutliers(source, raw_probability=0.25)
    shapes = [mixed(scene())["img"].shape[:2] for _ in range(200)]
    assert 30 <= shapes.count((20, 30)) <= 70
    assert set(shapes) == {(20, 30), (32, 48)}


def test_labels_must_be_loaded_first() -> None:
    with pytest.raises(KeyError, match="'gt_seg_map'"):
        PasteOutliers(DrawnObjects())({"img": scene()["img"]})
    with pytest.raises(KeyError, match="'img'"):
        PasteOutliers(DrawnObjects())({"gt_seg_map": scene()["gt_seg_map"]})


def test_labels_of_another_size_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"labels .*\(5, 5\).*\(32, 48\)"):
        PasteOutliers(DrawnObjects())({**scene(), "gt_seg_map": np.zeros((5, 5), np.uint8)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"probability": 1.5}, r"^probability .*1\.5"),
        ({"flip_probability": -1}, r"flip_probability .*-1"),
        ({"count": (3, 1)}, r"count .*\(3, 1\)"),
        ({"count": 0}, "count must be"),
        ({"count": (1, 2.5)}, r"count .*\(1, 2\.5\)"),
        ({"size_range": (0, 10)}, "size_range must be"),
        ({"size_range": (1, 2), "scale_range": (1, 2)}, "not several"),
        ({"scale_range": (1, 2), "scales": (1, 2)}, "not several"),
        ({"scales": (1, 0)}, r"scales .*\(1, 0\)"),
        ({"scales": ()}, "scales must be"),
        ({"raw_probability": 2}, r"raw_probability .*2"),
        ({"raw_probability": 0.1}, r"raw_probability .*DrawnObjects"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PasteOutliers(DrawnObjects(), **arguments)


def test_it_is_built_from_a_config_and_survives_pickling() -> None:
    transform = TRANSFORMS.build({"type": "PasteOutliers", "source": DrawnObjects(), "seed": 4})
    copy = pickle.loads(pickle.dumps(transform))
    np.testing.assert_array_equal(paste(copy, sample_idx=1), paste(transform, sample_idx=1))
    assert "seed=4" in repr(copy)
