"""A refinement as a step of a segmentor: scores, thresholds, names, and failures of one image."""

import json

import cv2
import numpy as np
import pytest
from perception_scenes import Brightness, grey_image, texture

from ood_seg.perception.core.temporal import TemporalFilter
from ood_seg.perception.run.infer import infer
from ood_seg.refinement import layered, pooled


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "masks").mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / "in" / f"{index}.png"), grey_image(texture(40, 60, index)))
        masks = np.zeros((40, 60), np.uint8)
        masks[5:20, 10 * index + 5 : 10 * index + 30] = 1
        cv2.imwrite(str(tmp_path / "masks" / f"{index}.png"), masks)
    return tmp_path


def expected(folder, index):
    image = cv2.imread(str(folder / "in" / f"{index}.png"))
    masks = cv2.imread(str(folder / "masks" / f"{index}.png"), cv2.IMREAD_UNCHANGED)
    return pooled(image[..., 0].astype(np.float32), layered(masks), keep=0)


def test_the_decision_is_that_of_refined_scores(folder):
    segmentor = Brightness(operating_point=120, refinement=f"masks={folder / 'masks'}")
    assert segmentor.score_name == "Blue+masks"
    for index, result in enumerate(segmentor(folder / "in")):
        np.testing.assert_array_equal(result.anomaly, expected(folder, index))
        np.testing.assert_array_equal(result.mask, result.anomaly >= 120)
        assert result.score_name == "Blue+masks"


def test_scores_are_refined_after_they_are_averaged_over_time(folder):
    segmentor = Brightness(refinement="segments,weight=1,across=4")
    still = [folder / "in" / "0.png"] * 3
    single = segmentor(still[0]).anomaly
    for result in segmentor.stream(still, temporal=TemporalFilter(0.5, motion=False)):
        np.testing.assert_allclose(result.anomaly, single, atol=1e-3)


def test_an_image_without_its_masks_is_a_failure_of_this_image_alone(folder):
    (folder / "masks" / "1.png").unlink()
    segmentor = Brightness(refinement=[{"type": "masks", "source": str(folder / "masks")}])
    lines = folder / "lines.jsonl"
    summary = infer(folder / "in", segmentor, out=folder / "out", save=["scores"], json=lines)
    assert (summary.written, summary.failed) == (2, 1)
    found = [json.loads(line) for line in lines.read_text().splitlines()]
    (failure,) = [one for one in found if "instances" not in one]
    assert "1.png" in json.dumps(failure)
    np.testing.assert_array_equal(np.load(folder / "out" / "2_scores.npy"), expected(folder, 2))


def test_a_source_that_does_not_exist_is_found_before_the_first_image(folder):
    with pytest.raises(FileNotFoundError, match="absent"):
        Brightness(refinement=f"saliency={folder / 'absent'},weight=1")
