"""`calibrate`, the `Calibration` object and its file."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from ood_seg.calibration import Calibration, calibrate, with_false_alarms
from ood_seg.calibration.curves import fit_isotonic, fit_logistic, score_counts
from ood_seg.calibration.files import to_content
from ood_seg.calibration.reliability import expected_calibration_error, reliability
from ood_seg.metrics.histogram import ScoreHistogram


def make_images(count=24, seed=0, size=400):
    """Scores that are the true log-odds, shifted and stretched as energies are."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(count):
        odds = rng.normal(-3, 2, size)
        labels = (rng.random(size) < 1 / (1 + np.exp(-odds))).astype(np.uint8)
        labels[:5] = 255
        images.append(((odds * 2 - 9).astype(np.float32), labels))
    return images


def histograms_of(images):
    return [ScoreHistogram.from_scores(*image) for image in images]


@pytest.fixture(scope="module")
def histograms():
    return histograms_of(make_images())


def fitted(histograms, **options):
    return calibrate(histograms, **{"score": "Energy", "data_set": "made up", **options})


def test_platt_finds_the_true_probability(histograms):
    calibration = fitted(histograms)
    odds = np.linspace(-8, 5, 50)
    expected = 1 / (1 + np.exp(-odds))
    np.testing.assert_allclose(calibration.probability(odds * 2 - 9), expected, atol=0.03)
    assert calibration.ece_after < 0.01 < 0.1 < calibration.ece_before
    assert calibration.ece_held_out
    assert calibration.num_images == 24
    assert sum(calibration.pixels) == 24 * 400
    assert calibration.pixels.ignored == 24 * 5


def test_methods_are_the_fits_on_all_images(histograms):
    counts = score_counts(histograms)
    assert fitted(histograms).curve == fit_logistic(counts)
    assert fitted(histograms, method="isotonic").curve == fit_isotonic(counts)
    shifted = [ScoreHistogram.from_scores((s + 9) / 4, y) for s, y in make_images()]
    temperature = fitted(shifted, method="temperature").curve
    # The scores are half the log-odds plus nothing: one half as temperature.
    assert 1 / temperature.slope == pytest.approx(0.5, rel=0.05)
    assert temperature.offset == 0


def test_held_out_error_is_of_images_that_the_fit_has_not_seen():
    images = histograms_of(make_images(count=4, size=30))
    options = {"method": "isotonic", "points": ["fpr 5%"]}
    calibration = fitted(images, seed=3, **options)
    counts = score_counts(images)
    seen = reliability(calibration.probability(counts.scores), *counts[1:])
    # So few pixels are overfitted: the error on others is far larger.
    assert calibration.ece_after > 2 * expected_calibration_error(seen)
    assert fitted(images, seed=3, **options).ece_after == calibration.ece_after


def test_the_error_of_one_image_is_not_held_out(histograms):
    calibration = fitted(histograms[:1], points=["fpr 5%"])
    assert not calibration.ece_held_out


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_another_prior_changes_the_odds(histograms, method):
    plain, rare = (
        fitted(histograms, method=method),
        fitted(histograms, method=method, assumed_prior=0.001),
    )
    knots = np.array(getattr(plain.curve, "scores", (-12.0, -9.0, -5.0)))
    p, q = plain.probability(knots), rare.probability(knots)
    prior = plain.assumed_prior
    ratio = (0.001 / 0.999) / (prior / (1 - prior))
    np.testing.assert_allclose(q * (1 - p), ratio * p * (1 - q), rtol=1e-9, atol=1e-15)
    assert rare.assumed_prior == 0.001
    assert prior == pytest.approx(plain.pixels.anomalous / sum(plain.pixels[:2]))
    assert rare.ece_after == plain.ece_after


def test_probability_takes_arrays_tensors_and_lists(histograms):
    calibration = fitted(histograms)
    scores = np.linspace(-30, 10, 24, dtype=np.float32).reshape(4, 6)
    array = calibration.probability(scores)
    assert (array.dtype, array.shape) == (np.float32, (4, 6))
    assert (np.diff(array.reshape(-1)) >= 0).all()
    tensor = calibration.probability(torch.from_numpy(scores).T.half())
    assert (tensor.dtype, tensor.shape) == (torch.float32, (6, 4))
    np.testing.assert_allclose(tensor.T.numpy(), array, rtol=0.02)
    assert calibration.probability(scores.astype(np.float64)).dtype == np.float64
    # Vectorised and scalar loops of torch may round the last bit differently.
    ends = array.reshape(-1)[[0, -1]]
    np.testing.assert_allclose(calibration.probability([-30, 10]), ends, rtol=1e-6)
    assert np.isnan(calibration.probability(np.array([np.nan]))).all()
    assert calibration.probability(np.array([1e30, -1e30])).tolist() == [1, 0]
    assert calibration.probability(10).shape == ()
    np.testing.assert_allclose(calibration.probability(10), array[-1, -1], rtol=1e-6)
    turned = calibration.probability(scores[::-1, ::2])
    np.testing.assert_allclose(turned, array[::-1, ::2], rtol=1e-6)


def test_default_points_and_their_names(histograms):
    calibration = fitted(histograms)
    names = ["fpr 1%", "fpr 5%", "tpr 95%", "best f1", "conformal fpr 5%"]
    assert list(calibration.operating_points) == names
    assert calibration.point() is calibration.point("fpr 1%")
    assert calibration.point("tpr 95%").tpr >= 0.95
    with pytest.raises(ValueError, match=r"'fpr 2%' .* fpr-1%, fpr-5%"):
        calibration.point("fpr 2%")
    with pytest.raises(ValueError, match="holds no operating point"):
        fitted(histograms, points=[]).point()


def test_too_few_images_for_a_guarantee(histograms):
    with pytest.warns(UserWarning, match="'conformal fpr 5%': .* 19 images, got 18"):
        calibration = fitted(histograms[:18])
    assert "conformal fpr 5%" not in calibration.operating_points
    with pytest.raises(ValueError, match="at least 19"):
        fitted(histograms[:18], points=["conformal fpr 5%"])


def test_false_alarms_are_the_mean_over_images():
    scores = np.zeros((6, 8), np.float32)
    scores[0, :3] = scores[4, 4:7] = 5
    scores[2, 2] = 7
    labels = np.zeros((6, 8), np.uint8)
    labels[4, 5] = 1
    maps = [(scores, labels), (np.zeros_like(scores), labels)]
    calibration = fitted(histograms_of(maps), points=["tpr 50%", "fpr 0%"])
    assert calibration.point("tpr 50%").threshold == 5
    counted = with_false_alarms(calibration, iter(maps), min_area=2)
    assert counted.point("tpr 50%").false_alarms_per_image == 0.5
    assert counted.point("fpr 0%").false_alarms_per_image == 0
    assert counted.min_area == 2
    assert calibration.point("fpr 0%").false_alarms_per_image is None
    assert with_false_alarms(calibration, maps, min_area=1).point().false_alarms_per_image == 1
    with pytest.raises(ValueError, match="at least one score map"):
        with_false_alarms(calibration, [])
    with pytest.raises(ValueError, match=r"min_area.*at least 1; got 0"):
        with_false_alarms(calibration, maps, min_area=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"histograms": []}, "at least one histogram, got none"),
        ({"method": "beta"}, "expected one of platt, temperature, isotonic, got 'beta'"),
        ({"assumed_prior": 1.0}, "must lie between 0 and 1, got 1.0"),
        ({"points": ["fpr"]}, "operating point 'fpr': expected"),
    ],
)
def test_wrong_arguments(histograms, options, message):
    with pytest.raises(ValueError, match=message):
        fitted(**{"histograms": histograms, **options})


@pytest.mark.parametrize("method", ["platt", "isotonic"])
def test_degenerate_sets(method):
    def single(scores, labels):
        return [ScoreHistogram.from_scores(np.float32(scores), np.array(labels))]

    with pytest.raises(ValueError, match="0 anomalous"):
        fitted(single([1, 2], [0, 0]), method=method)
    with pytest.raises(ValueError, match="both classes, got 0 known and 0 anomalous"):
        fitted(single([1, 2], [255, 255]), method=method)
    with pytest.raises(ValueError, match="all scores are equal"):
        fitted(single([3, 3], [0, 1]), method=method)


OPTIONAL_TEXTS = ("model", "checkpoint_sha256", "commit", "guarantee")
OPTIONAL = (*OPTIONAL_TEXTS, "setup", "min_area", "false_alarms_per_image")


def places(value, place=()):
    """Every place of a JSON value below its root."""
    if isinstance(value, dict):
        children = value.items()
    elif isinstance(value, list):
        children = list(enumerate(value))[:2]
    else:
        return
    for key, child in children:
        yield (*place, key)
        yield from places(child, (*place, key))


def reach(content, place):
    """The value at a place."""
    for key in place:
        content = content[key]
    return content


def wrong_values(content, place):
    """Values that are not allowed at a place."""
    value = reach(content, place)
    if place == ("setup",):
        return [3, "x", [1]]
    if isinstance(value, (dict, list)):
        return [None, 3, "x", [[[]]], {"x": 1} if isinstance(value, list) else [1], [None]]
    wrong = [[1], {"x": 1}] + ([] if place[-1] in OPTIONAL else [None])
    if isinstance(value, bool):
        return [*wrong, 0, "true"]
    if isinstance(value, str) or place[-1] in OPTIONAL_TEXTS:
        return [*wrong, 3, True]
    return [*wrong, "1", True, float("nan"), float("inf"), -float("inf"), 10**400]


class TestFile:
    @pytest.mark.parametrize("method", ["platt", "isotonic"])
    def test_round_trip(self, histograms, tmp_path, method):
        calibration = fitted(histograms, method=method, model="net", checkpoint_sha256="ab12")
        path = tmp_path / "new" / "calibration.json"
        calibration.save(path)
        again = Calibration.load(path, score="Energy")
        assert to_content(again) == to_content(calibration)
        scores = np.linspace(-40, 9, 99)
        np.testing.assert_array_equal(again.probability(scores), calibration.probability(scores))
        assert [file.name for file in path.parent.iterdir()] == ["calibration.json"]

    def test_fields(self, histograms, tmp_path):
        fitted(histograms).save(tmp_path / "c.json")
        content = json.loads((tmp_path / "c.json").read_text())
        assert content["schema"] == "ood_seg.calibration/1"
        assert content["method"] == "platt"
        assert set(content["parameters"]) == {"slope", "offset"}
        assert content["checkpoint_sha256"] is None
        point = content["operating_points"][-1]
        assert set(point) == {
            "name", "threshold", "tpr", "fpr", "false_alarms_per_image", "guarantee",
        }  # fmt: skip
        assert "conformal risk control" in point["guarantee"]

    def test_another_score_is_refused(self, histograms, tmp_path):
        fitted(histograms).save(tmp_path / "c.json")
        with pytest.raises(ValueError, match=r"for the score 'Energy', but .* 'Entropy'"):
            Calibration.load(tmp_path / "c.json", score="Entropy")

    def test_what_is_no_calibration_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"none\.json.*`ood-seg calibrate`"):
            Calibration.load(tmp_path / "none.json")
        path = tmp_path / "c.json"
        for text, message in (
            ("{", "not a JSON file"),
            ("[]", "expected the schema"),
            ('{"schema": "ood_seg.calibration/2"}', "got 'ood_seg.calibration/2'"),
            ('{"schema": "ood_seg.calibration/1"}', "the field 'method' is missing"),
        ):
            path.write_text(text)
            with pytest.raises(ValueError, match=message):
                Calibration.load(path)

    @pytest.mark.parametrize(
        ("where", "value", "message"),
        [
            (["score"], 3, "'score' must be a text, got 3"),
            (["model"], 3, "'model' must be a text or null, got 3"),
            (["method"], "beta", "'method' must be one of platt"),
            (["num_images"], 0, "'num_images' must be an integer from 1, got 0"),
            (["num_images"], True, "'num_images' must be an integer"),
            (["pixels"], None, "pixels: expected an object, got None"),
            (["pixels", "known"], -1, "pixels: 'known' must be an integer from 0"),
            (["parameters", "slope"], -1.0, "parameters: 'slope' must be above 0"),
            (["parameters", "offset"], "x", "'offset' must be a finite number, got 'x'"),
            (["parameters", "offset"], float("nan"), "'offset' must be a finite number, got nan"),
            (["assumed_prior"], 2, "'assumed_prior' must be a finite number from 0 to 1, got 2"),
            (["score_range"], [2, 1], "'score_range' must be two ascending numbers"),
            (["ece_after"], None, "'ece_after' must be a finite number from 0 to 1, got None"),
            (["ece_held_out"], 1, "'ece_held_out' must be true or false"),
            (["reliability", "weight"], [], "'reliability' must be three lists of one length"),
            (["min_area"], "a", "'min_area' must be an integer"),
            (["operating_points"], {}, "'operating_points' must be a list"),
            (["operating_points", 1, "tpr"], 1.5, r"operating_points\[1\]: 'tpr' must be .* to 1"),
            (["operating_points", 1, "name"], "fpr 1%", "'name' must be given once"),
            (["operating_points", 0, "threshold"], None, "'threshold' must be a finite number"),
        ],
    )
    def test_every_field_is_checked(self, histograms, tmp_path, where, value, message):
        content = to_content(fitted(histograms))
        target = content
        for key in where[:-1]:
            target = target[key]
        target[where[-1]] = value
        path = tmp_path / "c.json"
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message) as error:
            Calibration.load(path)
        assert str(path) in str(error.value)

    def test_every_value_of_another_type_is_refused(self, histograms, tmp_path):
        content = to_content(fitted(histograms, model="net", checkpoint_sha256="ab12"))
        path, tried = tmp_path / "c.json", 0
        for place in places(content):
            *parents, last = place
            if place == ("version",):  # of the writer; it is not read
                continue
            for value in wrong_values(content, place):
                mutated = copy.deepcopy(content)
                reach(mutated, parents)[last] = value
                path.write_text(json.dumps(mutated))
                with pytest.raises(ValueError, match=r"c\.json") as error:
                    Calibration.load(path)
                named = last if isinstance(last, str) else parents[-1]
                assert str(named) in str(error.value), (place, value)
                assert "\n" not in str(error.value)
                tried += 1
        assert tried > 300

    def test_known_pixels_alone_give_points_without_a_probability(self, tmp_path):
        scores, labels = np.float32([1, 2, 3, 9]), np.uint8([0, 0, 0, 255])
        maps = [ScoreHistogram.from_scores(scores, labels) for _ in range(20)]
        with pytest.raises(ValueError, match="60 known and 0 anomalous"):
            fitted(maps)
        made = fitted(maps, method=None, commit="abc", setup={"score": {"type": "Energy"}})
        assert list(made.operating_points) == ["fpr 1%", "fpr 5%", "conformal fpr 5%"]
        assert made.point("fpr-5%").threshold == np.nextafter(np.float32(3), np.float32(4))
        assert made.probability(np.ones(3)) is None
        made.save(tmp_path / "c.json")
        again = Calibration.load(tmp_path / "c.json")
        assert to_content(again) == to_content(made)
        assert (again.commit, again.setup) == ("abc", {"score": {"type": "Energy"}})
        assert np.isnan(again.point("fpr 1%").tpr)
        for options, name in (({"points": ["tpr-95%"]}, "tpr 95%"), ({"assumed_prior": 0.1}, "p")):
            with pytest.raises(ValueError, match=name):
                fitted(maps, method=None, **options)

    @pytest.mark.parametrize("name", ["parameters", "assumed_prior", "ece_after", "reliability"])
    def test_parts_of_a_curve_without_its_method_are_refused(self, histograms, tmp_path, name):
        with_curve = to_content(fitted(histograms))
        without = to_content(fitted(histograms, method=None))
        (tmp_path / "c.json").write_text(json.dumps({**without, name: with_curve[name]}))
        with pytest.raises(ValueError, match=f"'{name}' must be null"):
            Calibration.load(tmp_path / "c.json")

    @pytest.mark.parametrize("text", ["[" * 100_000, '{"schema": ' + "[" * 100_000, "\udcff", ""])
    def test_files_that_are_not_json_are_refused(self, tmp_path, text):
        path = tmp_path / "c.json"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(ValueError, match=r"c\.json is not a (usable )?JSON file") as error:
            Calibration.load(path)
        assert "\n" not in str(error.value)

    def test_no_field_may_be_missing(self, histograms, tmp_path):
        content = to_content(fitted(histograms))
        path = tmp_path / "c.json"
        # That of the writer is not read, and files of earlier versions lack the other two.
        for name in sorted(set(content) - {"version", "commit", "setup"}):
            path.write_text(json.dumps({key: content[key] for key in content if key != name}))
            with pytest.raises(ValueError, match=rf"'{name}' is missing|expected the schema"):
                Calibration.load(path)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({"scores": [1, 2], "probabilities": [0.1]}, "as long as the 1 probabilities"),
            ({"scores": [], "probabilities": []}, "as long as the 0"),
            ({"scores": [2, 2], "probabilities": [0.1, 0.2]}, "'scores' must be strictly"),
            ({"scores": [1, 2], "probabilities": [0.3, 0.2]}, "must be never falling"),
            ({"scores": [1, 2], "probabilities": [0, 2]}, "finite numbers from 0 to 1"),
        ],
    )
    def test_isotonic_parameters_are_checked(self, histograms, tmp_path, parameters, message):
        content = to_content(fitted(histograms, method="isotonic"))
        content["parameters"] = parameters
        path = tmp_path / "c.json"
        path.write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            Calibration.load(path)


def test_calibration_needs_neither_mmseg_nor_scipy():
    program = (
        "import sys\n"
        "for name in ('mmseg', 'mmengine', 'mmcv', 'scipy', 'sklearn', 'rich', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import ood_seg.calibration, ood_seg.calibration.files, ood_seg.metrics.bootstrap\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
