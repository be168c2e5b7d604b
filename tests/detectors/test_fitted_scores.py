"""Shared by all fitted scores: their file, the check of the model, batches and processes."""

import pytest
import torch
from process_group import process_group, run_on_ranks
from toy_networks import dense, fitted, image_level, images_and_labels, quick_fitter

from ood_seg.detectors import FITTED, StatisticsFile

IMAGES, LABELS = images_and_labels(4, size=(16, 24))
METHODS = ("sml", "kl-matching", "mahalanobis", "relative-mahalanobis")
OPTIONS = {name: {"layers": ["0"]} if "mahalanobis" in name else {} for name in METHODS}


def of(method, network, cuts=()):
    return fitted(FITTED[method].fitter(**OPTIONS[method]), network, IMAGES, LABELS, cuts)


def scored(method, file, network):
    score = FITTED[method](file)
    outputs = network(IMAGES, score.layers)
    return score(outputs.logits) if score.needs == "logits" else score(outputs, network)


def test_methods_are_listed_by_name():
    assert set(METHODS) <= set(FITTED)
    for name, kind in FITTED.items():
        assert kind.method == name


@pytest.mark.parametrize("method", METHODS)
class TestFile:
    def test_saved_and_loaded(self, method, tmp_path):
        network = dense(seed=3)
        file = of(method, network)
        file.save(tmp_path / "statistics.pt")
        loaded = scored(method, tmp_path / "statistics.pt", network)
        assert torch.equal(loaded, scored(method, file, network))

    def test_other_weights_are_refused(self, method):
        network, other = dense(seed=3), dense(seed=4)
        score = FITTED[method](of(method, network))
        score.check_model(network)
        score.check_model(dense(seed=3))
        with pytest.raises(ValueError, match=r"weights.*[0-9a-f]{12}.*[0-9a-f]{12}.*`ood-seg fit`"):
            score.check_model(other)

    def test_file_of_other_methods(self, method, tmp_path):
        file = StatisticsFile({"other": None})
        with pytest.raises(ValueError, match=f"statistics.*'{method}'.*other.*--methods {method}"):
            FITTED[method](file)
        with pytest.raises(FileNotFoundError, match=r"nothing\.pt.*`ood-seg fit`"):
            FITTED[method](tmp_path / "nothing.pt")

    def test_statistics_are_not_in_the_state_dict(self, method):
        assert not FITTED[method](of(method, dense(seed=3))).state_dict()

    def test_batches_do_not_matter(self, method):
        network = dense(seed=3)
        whole, split = of(method, network), of(method, network, [1, 3])
        expected, section = (one.methods[method].tensors for one in (whole, split))
        assert expected.keys() == section.keys()
        for name, value in expected.items():
            torch.testing.assert_close(section[name], value)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": {"weight": torch.ones(2)}},
        {"description": "{", "tensors": {}},
        {"description": "[]", "tensors": {}},
        {"description": '{"schema": "ood_seg.statistics/0"}', "tensors": {}},
        {"description": '{"schema": "ood_seg.statistics/1", "options": {}}', "tensors": {}},
        {"description": '{"schema": "ood_seg.statistics/1", "options": {"a": {}}}'},
    ],
)
def test_other_files_are_refused(content, tmp_path):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth.*`ood-seg fit`.*ood_seg\.statistics/1"):
        StatisticsFile.load(tmp_path / "other.pth")


@pytest.mark.parametrize("method", FITTED)
def test_no_image_and_no_activation(method):
    network, (images, labels) = dense(), images_and_labels(4, size=(32, 48))
    score = FITTED[method](fitted(quick_fitter(method), network, images, labels))
    outputs = network(images[:0], score.layers)
    if score.needs == "logits":
        assert score(outputs.logits).shape == (0, 16, 24)
        return
    assert score(outputs, network).shape == (0, 16, 24)
    with pytest.raises(ValueError, match=f"layer '{score.layers[0]}'"):
        score(outputs._replace(features={}), network)


@pytest.mark.parametrize("method", FITTED)
def test_non_finite_activations_are_refused(method):
    images, labels = images_and_labels(4, size=(32, 48))
    images[1, 0, 12:14] = torch.nan
    with pytest.raises(ValueError, match=r"(infinite or NaN|no finite number)"):
        fitted(quick_fitter(method), dense(), images, labels)


def test_non_finite_outliers_are_refused():
    images, labels = images_and_labels(4, size=(32, 48))
    images[1, 0, 0, 0] = torch.nan  # an outlier pixel
    with pytest.raises(ValueError, match=r"infinite or NaN.*float32"):
        fitted(quick_fitter("flow"), dense(), images, labels)


def test_layer_that_does_not_exist():
    network = dense(seed=3)
    fitter = FITTED["mahalanobis"].fitter(["backbone"])
    with pytest.raises(ValueError, match=r"Sequential.*'backbone'.*\b3\b"):
        fitted(fitter, network, IMAGES, LABELS)


def test_labels_of_another_kind_of_network():
    fitter = FITTED["mahalanobis"].fitter(["0"])
    network = image_level()
    with pytest.raises(ValueError, match=r"labels.*\(4, 16, 24\)"):
        fitter.update(network(IMAGES, ["0"]), LABELS, network)


def fitters_of(rank_images):
    network = dense(seed=3)
    options = {**OPTIONS, "mahalanobis": {"layers": ["0", "penultimate"], "sample_size": 50}}
    options["mahalanobis"]["shrinkage"] = 0.1
    fitters = {name: FITTED[name].fitter(**options[name]) for name in METHODS}
    for index in rank_images:
        for fitter in fitters.values():
            outputs = network(IMAGES[index : index + 1], fitter.layers)
            fitter.update(outputs, LABELS[index : index + 1], network)
    return fitters


def run_rank(rank: int, folder: str) -> None:
    with process_group(rank, 3, folder):
        results = {}
        for name, fitter in fitters_of(range(rank, 2, 3)).items():  # the third has no image
            fitter.reduce()
            results[name] = fitter.result().tensors
        torch.save(results, f"{folder}/{rank}")


def test_statistics_of_three_processes_equal_those_of_one(tmp_path):
    run_on_ranks(run_rank, str(tmp_path), number=3)
    expected = {name: fitter.result().tensors for name, fitter in fitters_of(range(2)).items()}
    for rank in range(3):
        for name, tensors in torch.load(tmp_path / str(rank)).items():
            assert tensors.keys() == expected[name].keys()
            for key, value in tensors.items():
                torch.testing.assert_close(value, expected[name][key], rtol=1e-4, atol=1e-6)
