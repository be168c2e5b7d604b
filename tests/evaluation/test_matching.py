"""Score maps and ground truth find each other by name, or are listed."""

from __future__ import annotations

import unicodedata

import pytest

from ood_seg.evaluation.matching import image_name, match_images, match_maps
from ood_seg.evaluation.saved_maps import MapReader


@pytest.fixture
def make(tmp_path):
    """Creates empty files below `scores` and `truth` and gives both folders."""

    def create(scores, truth):
        for folder, names in (("scores", scores), ("truth", truth)):
            (tmp_path / folder).mkdir(exist_ok=True)
            for name in names:
                path = tmp_path / folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return tmp_path / "scores", tmp_path / "truth"

    return create


def pairs(matches, root):
    return {
        pair.name: (
            pair.scores.relative_to(root / "scores").as_posix(),
            pair.truth.relative_to(root / "truth").as_posix(),
        )
        for pair in matches.pairs
    }


@pytest.mark.parametrize(
    ("score", "truth", "name"),
    [
        ("a.npy", "a.png", "a"),
        ("a.b.npz", "a.b_labels.png", "a.b"),
        ("validation0000.npy", "validation0000_labels_semantic.png", "validation0000"),
        (
            "f_000001_leftImg8bit_scores.tif",
            "frankfurt/f_000001_gtFine_labelTrainIds.png",
            "f_000001",
        ),
        ("deep/er/x_anomaly_score.png", "x_label.png", "x"),
        ("cow.npy", "frames/cow.labels/labels_semantic.png", "cow"),
    ],
)
def test_names(make, tmp_path, score, truth, name):
    assert pairs(match_maps(*make([score], [truth])), tmp_path) == {name: (score, truth)}


def test_composed_and_decomposed_names_pair(make, tmp_path):
    score, truth = (unicodedata.normalize(form, "Zürich/Straße é") for form in ("NFD", "NFC"))
    matches = match_maps(*make([f"{score}.npy"], [f"{truth}_labels.png"]))
    assert [pair.name for pair in matches.pairs] == ["Straße é"]


def test_an_ending_alone_stays_a_name():
    assert image_name("_labels") == "_labels"
    assert image_name("scores") == "scores"


def test_strip(make, tmp_path):
    folders = make(["x_000030.npy"], ["0000_x_000030_labels.png"])
    with pytest.raises(ValueError, match="--strip"):
        match_maps(*folders)
    assert list(pairs(match_maps(*folders, strip=[r"^\d{4}_"]), tmp_path)) == ["x_000030"]


def test_strip_is_a_regular_expression():
    with pytest.raises(ValueError, match=r"strip: '\(' is no regular expression.*backslash"):
        image_name("scene_1", ["("])


def test_folders_tell_equal_names_apart(make, tmp_path):
    folders = make(["a/0.npy", "b/0.npy", "b/1.npy"], ["a/0.png", "b/0.png", "b/1.png"])
    assert pairs(match_maps(*folders), tmp_path) == {
        "a/0": ("a/0.npy", "a/0.png"),
        "b/0": ("b/0.npy", "b/0.png"),
        "b/1": ("b/1.npy", "b/1.png"),
    }


def test_files_for_the_eye_and_others_are_passed_over(make, tmp_path):
    folders = make(
        ["a.npy", "scale.json", "._a.npy", "a.jpg"], ["a.png", "a_labels_semantic_color.png"]
    )
    assert list(pairs(match_maps(*folders), tmp_path)) == ["a"]


def test_truth_suffix(make, tmp_path):
    truth = [f"x_gtCoarse_{kind}.png" for kind in ("labelIds", "labelTrainIds", "instanceIds")]
    folders = make(["x_leftImg8bit.npy"], truth)
    with pytest.raises(ValueError, match="--truth-suffix"):
        match_maps(*folders)
    matches = match_maps(*folders, truth_suffix="_labelTrainIds.png")
    assert pairs(matches, tmp_path) == {"x": ("x_leftImg8bit.npy", "x_gtCoarse_labelTrainIds.png")}


@pytest.mark.slow
def test_real_layouts(real_data, make):
    """Maps named as `ood-seg test --out` names them find the published ground truth."""
    frames = real_data / "road_anomaly" / "RoadAnomaly_jpg" / "frames"
    masks = real_data / "fs_static" / "labels_masks"
    cases = (
        (frames, sorted(frames.glob("*.jpg")), {0: 0, 2: 1}, 60),
        (masks, sorted((real_data / "fs_static" / "images").iterdir()), {0: 0, 1: 1}, 30),
    )
    for truth, images, label_map, count in cases:
        scores, _ = make([f"{truth.name}/{image.stem}.npy" for image in images], [])
        matches = match_maps(scores / truth.name, truth)
        assert [pair.name for pair in matches.pairs] == sorted(image.stem for image in images)
        assert len(matches.pairs) == count
        labels = MapReader(label_map=label_map).read_truth(matches.pairs[0].truth)
        assert 0 < (labels == 1).sum() < (labels == 0).sum()


def test_both_sides_are_listed(make, tmp_path):
    folders = make(["a.npy", "b.npy", "c.npy"], ["a.png", "d_labels.png"])
    with pytest.raises(ValueError, match="--allow-missing") as caught:
        match_maps(*folders)
    text = str(caught.value)
    assert "2 score maps without ground truth" in text
    assert "1 ground truth files" in text
    assert all(name in text for name in ("b.npy", "c.npy", "d_labels.png"))
    matches = match_maps(*folders, allow_missing=True)
    assert list(pairs(matches, tmp_path)) == ["a"]
    scores, truth = (str(folder) for folder in folders)
    assert matches.notes == [
        f"left out: 2 score maps without ground truth in {truth}: b, c",
        f"left out: 1 ground truth files without a score map in {scores}: d",
    ]


@pytest.mark.parametrize("allow_missing", [False, True])
def test_two_files_of_one_name(make, allow_missing):
    folders = make(["a.npy", "a_score.npy"], ["a.png"])
    with pytest.raises(ValueError, match=r"more than one score map named a: .*a\.npy.*a_score"):
        match_maps(*folders, allow_missing=allow_missing)


def test_empty_folders(make):
    with pytest.raises(ValueError, match="no image and mask pairs"):
        match_maps(*make([], []))


def test_missing_folder(make, tmp_path):
    scores, _ = make(["a.npy"], [])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        match_maps(scores, tmp_path / "nowhere")


def test_two_files(make):
    scores, truth = make(["one.npy"], ["another.png"])
    matches = match_maps(scores / "one.npy", truth / "another.png")
    assert [pair.name for pair in matches.pairs] == ["one"]


def test_images(make, tmp_path):
    scores, _ = make(["a_leftImg8bit.jpg", "b.webp", "c.txt"], [])
    found = match_images(scores, ["a", "b", "z"])
    assert found == {"a": scores / "a_leftImg8bit.jpg", "b": scores / "b.webp"}


def test_images_of_a_tree_that_holds_the_labels_as_well(make):
    frames, _ = make(["cow.jpg", "cow.labels/labels_semantic.png", "dog.jpg"], [])
    assert match_images(frames, ["cow", "dog"]) == {
        "cow": frames / "cow.jpg",
        "dog": frames / "dog.jpg",
    }
