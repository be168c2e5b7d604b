"""Panels of the worst, median and best images."""

import base64

import cv2
import numpy as np
import pytest
from report_html import Page
from report_samples import evaluation, write_maps

from ood_seg.evaluation.saved_maps import MapReader
from ood_seg.reports import write_reports
from ood_seg.reports.gallery import chosen_images
from ood_seg.reports.gallery import gallery as draw_gallery
from ood_seg.visualization import DECISION_COLOURS

READ = MapReader().read


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_maps(tmp_path_factory.mktemp("maps"), 6)


def gallery(content, count=12, read=READ, **options):
    contents = content if isinstance(content, list) else [content]
    evaluations = {one["method"]: one for one in contents}
    return draw_gallery(evaluations, [read] * len(contents), count, **options)


def decoded(panel) -> np.ndarray:
    content = base64.b64decode(panel.uri.removeprefix("data:image/jpeg;base64,"))
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (1, [("worst", "000")]),
        (2, [("worst", "000"), ("best", "005")]),
        (3, [("worst", "000"), ("best", "005"), ("median", "002")]),
        (4, [("worst", "000"), ("best", "005"), ("median", "003"), ("worst", "001")]),
        (
            99,
            [
                *zip(
                    ["worst", "best", "median"] * 2,
                    ["000", "005", "002", "001", "004", "003"],
                    strict=True,
                )
            ],
        ),
    ],
)
def test_worst_best_and_median_in_turns_and_none_twice(images, count, expected):
    chosen = chosen_images(evaluation(images), count)
    assert [(place, image["name"]) for place, image in chosen] == expected


def test_no_more_than_there_are(images):
    chosen = chosen_images(evaluation(images), 99)
    assert [image["name"] for _, image in chosen] == ["000", "005", "002", "001", "004", "003"]


def test_images_without_ap_are_not_shown(images):
    odd = [{**image, "ap": None} for image in images[:5]] + [images[5]]
    assert [p.name for p in gallery(evaluation(odd)).examples] == ["005"]


def test_panels_of_an_image(images):
    worst = gallery(evaluation(images), 1).examples[0]
    assert [panel.title for panel in worst.panels] == ["image", "ground truth", "score", "decision"]
    image, truth, *_ = (decoded(panel).astype(int) for panel in worst.panels)
    mask = cv2.imread(images[0]["ground_truth"], cv2.IMREAD_UNCHANGED)
    anomaly = cv2.erode((mask == 1).astype(np.uint8), np.ones((9, 9))) > 0
    # Orange over the image; ignored rows darker; known pixels as they are, but for JPEG.
    assert (truth[anomaly].mean(0) - (0.3 * image[anomaly].mean(0) + (178, 56, 0))).max() < 8
    assert truth[-4:].mean() < 0.5 * image[-4:].mean()
    assert np.abs(truth[:30] - image[:30]).mean() < 3


def test_a_pixel_at_the_threshold_counts_as_flagged(tmp_path):
    entry = write_maps(tmp_path, 1)[0]
    mask = cv2.imread(entry["ground_truth"], cv2.IMREAD_UNCHANGED)
    np.save(entry["scores"], np.where(mask == 1, np.float32(-4.75), np.float32(-4.76)))
    decision = decoded(gallery(evaluation([entry])).examples[0].panels[-1]).astype(int)
    inside = cv2.erode((mask == 1).astype(np.uint8), np.ones((9, 9))) > 0
    assert np.abs(decision[inside].mean(0) - DECISION_COLOURS["found"]).max() < 40


def test_large_maps_are_reduced_and_small_anomalies_stay(tmp_path):
    mask = np.zeros((1024, 2048), np.uint8)
    mask[500:506, 1000:1006] = 1
    np.save(tmp_path / "a.npy", np.where(mask == 1, 5.0, 0.0).astype(np.float32))
    cv2.imwrite(str(tmp_path / "a.png"), mask)
    entry = {"name": "a", "ap": 1.0, "known": 9, "anomalous": 1}
    entry.update(scores=str(tmp_path / "a.npy"), ground_truth=str(tmp_path / "a.png"), image=None)
    found = gallery(evaluation([entry]))
    assert [panel.title for panel in found.examples[0].panels] == [
        "ground truth",
        "score",
        "decision",
    ]
    truth = decoded(found.examples[0].panels[0]).astype(int)
    assert truth.shape == (240, 480, 3)
    assert truth[117:119, 234:236, 0].max() > truth[117:119, 234:236, 2].max() + 60


def test_images_follow_the_rule_of_the_reader(tmp_path):
    entry = write_maps(tmp_path, 1)[0]
    deep = tmp_path / "deep.png"
    cv2.imwrite(str(deep), np.full((80, 120, 3), 4000, np.uint16))
    found = gallery(evaluation([{**entry, "image": str(deep)}]))
    assert not found.examples
    (problem,) = found.problems
    assert "deep.png: expected 8 bits" in problem


def test_heat_maps_of_a_method_share_a_range(images):
    found = gallery(evaluation(images))
    low, high = found.ranges["energy"]
    everything = np.concatenate([np.load(image["scores"]).ravel() for image in images])
    assert (low, high) == pytest.approx(np.percentile(everything, [1, 99]), abs=1e-5)


def test_each_method_has_its_scores(images):
    found = gallery([evaluation(images), evaluation(images[:1], method="odin")], 2)
    first = ["image", "ground truth", "score, energy", "decision, energy"]
    assert [[panel.title for panel in one.panels] for one in found.examples] == [
        [*first, "score, odin", "decision, odin"],
        first,
    ]


def test_a_missing_file_is_named_and_the_others_are_shown(images, tmp_path):
    odd = [{**images[0], "scores": str(tmp_path / "gone.npy")}, *images[1:]]
    path = write_reports(evaluation(odd), tmp_path, ["html"])["html"]
    page = Page(path.read_text(encoding="utf-8"))
    assert "000 is not shown: " in page.text
    assert "gone.npy" in page.text
    assert [tag for tag, _ in page.elements].count("img") == 1 + 5 * 4


def test_the_page_stays_small(images, tmp_path):
    found = gallery(evaluation(images), max_bytes=50_000)
    assert 0 < len(found.examples) < 6
    missing = 6 - len(found.examples)
    assert found.problems == [f"images not shown, to keep this page small: {missing}"]
    assert sum(len(panel.uri) for one in found.examples for panel in one.panels) <= 50_000


def test_own_reader(images, tmp_path):
    calls = []

    def read(scores, truth):
        calls.append((str(scores), str(truth)))
        return READ(scores, truth)

    write_reports(evaluation(images), tmp_path, ["html"], max_images=2, read_maps=read)
    assert calls == [(images[k]["scores"], images[k]["ground_truth"]) for k in (0, 5)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_images": -1}, "max_images.*-1"),
        ({"read_maps": [READ, READ]}, "read_maps.*1.*got 2"),
    ],
)
def test_bad_options(images, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write_reports(evaluation(images), tmp_path, ["html"], **options)
    assert not list(tmp_path.iterdir())
