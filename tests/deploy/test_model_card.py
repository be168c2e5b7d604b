"""Damaged metadata of an exported model: each mutation is refused in one line that names it."""

import json

import pytest

from ood_seg.deploy.model_card import ModelCard

CURVES = {
    "platt": {"slope": 2.0, "offset": 1.0},
    "isotonic": {"scores": [-3.0, 1.0], "probabilities": [0.1, 0.9]},
}
ENTRIES = {
    "classes": ["road", "car"],
    "palette": [[1, 2, 3], [4, 5, 6]],
    "score": "Energy",
    "thresholds": {"fpr 5%": -2.5},
    "layout": "nhwc",
    "colour": "bgr",
    "input_type": "uint8",
    "size": {"kind": "fixed", "height": 64, "width": 128},
    "mean": [123.7, 116.3, 103.5],
    "std": [58.4, 57.1, 57.4],
    "network_colour": "rgb",
    "divisor": 8,
    "outputs": ["labels", "anomaly", "score"],
    "channels": 3,
    "precision": "fp32",
    "version": "0.1.0",
    "padded_size": [64, 128],
    "temperature": 1.0,
    "smoothing": {"kernel_size": 7, "sigma": 1.0},
    "calibration": {"method": "platt", "parameters": CURVES["platt"]},
    "min_area": 50,
    "config": "erfnet.py",
    "config_sha256": "ab",
    "checkpoint": "erfnet.pth",
    "checkpoint_sha256": "cd",
    "commit": "ef",
}
TEXTS = (None, 3, True, [], {}, ["a"])
NUMBERS = ("1", True, [], {}, float("nan"), float("inf"), 10**400)
MUTATIONS = {
    "classes": (None, "road", [], ["road", 3], {"road": 0}, [None, None], 2),
    "palette": (None, [], [[1, 2, 3]], [[1, 2], [4, 5, 6]], [[1, 2, 256], [4, 5, 6]],
                [[-1, 2, 3], [4, 5, 6]], [[1.5, 2, 3], [4, 5, 6]], ["red", "blue"], "red", 3,
                [[True, 2, 3], [4, 5, 6]]),
    "score": TEXTS,
    "thresholds": (None, [], "fpr", *({"fpr 5%": value} for value in (None, *NUMBERS))),
    "layout": (*TEXTS, "hwc"),
    "colour": (*TEXTS, "grey"),
    "network_colour": (*TEXTS, "grey"),
    "input_type": (*TEXTS, "float16"),
    "precision": (*TEXTS, "fp8"),
    "version": TEXTS,
    "size": (None, [], "fixed", {}, {"kind": "own"}, {"kind": "any", "height": 1, "width": 1},
             {"kind": "fixed", "height": 0, "width": 128}, {"kind": "fixed", "height": 64},
             {"kind": "keep_ratio", "height": -1, "width": 2},
             {"kind": "fixed", "height": 6.5, "width": 2}, {"kind": ["fixed"]}),
    "mean": (None, 3, [], [1, 2], ["1", 2, 3], [None, 2, 3], [float("nan"), 2, 3], [[1, 2, 3]]),
    "std": (None, 3, [], [1, 2], [0, 1, 2], [-1, 1, 2], [float("inf"), 1, 2], ["1", 2, 3]),
    "divisor": (None, 0, -8, 2.5, *NUMBERS),
    "outputs": (None, "labels", [], ["labels"], ["labels", "anomaly"], [1, 2, 3], {"labels": 0}),
    "channels": (None, 1, 0, 2.5, *NUMBERS),
    "padded_size": (0, [], [64], [0, 128], [64, -1], [64, 2.5], "64x128", {"height": 64}),
    "temperature": NUMBERS,
    "smoothing": ([], "7", {}, {"kernel_size": 7}, {"kernel_size": 0, "sigma": 1},
                  {"kernel_size": 7, "sigma": -1}, {"kernel_size": 7, "sigma": None}),
    "calibration": ([], "platt", {"method": "platt"}, {"parameters": None}, {"parameters": {}},
                    {"parameters": {"slope": 0, "offset": 0}}, {"parameters": {"slope": 1}},
                    {"parameters": {"slope": float("nan"), "offset": 0}},
                    {"parameters": {"scores": [1], "probabilities": []}},
                    {"parameters": {"scores": [2, 1], "probabilities": [0, 1]}},
                    {"parameters": {"scores": [1, 2], "probabilities": [0, 2]}}),
    "min_area": (-1, 2.5, *NUMBERS),
    "config": (3, [], {}),
    "config_sha256": (3, [], {}),
    "checkpoint": (3, [], {}),
    "checkpoint_sha256": (3, [], {}),
    "commit": (3, [], {}),
}  # fmt: skip


def properties(**changes):
    entries = {"schema": "ood_seg.onnx/1", **ENTRIES, **changes}
    return {name: json.dumps(value) for name, value in entries.items()}


def refused(texts):
    with pytest.raises(ValueError, match=r"^net\.onnx") as error:
        ModelCard.from_properties(texts, "net.onnx")
    message = str(error.value)
    assert "\n" not in message
    assert "export the model again" in message
    return message


@pytest.mark.parametrize("method", CURVES)
def test_a_sound_card_is_read_back(method):
    calibration = {"method": method, "parameters": CURVES[method]}
    card = ModelCard.from_properties(properties(calibration=calibration), "net.onnx")
    assert ModelCard.from_properties(card.to_properties(), "net.onnx") == card
    assert card.palette == ((1, 2, 3), (4, 5, 6))
    optional = ("calibration", "smoothing", "padded_size", "temperature", "min_area", "commit")
    absent = properties(**dict.fromkeys(optional))
    assert ModelCard.from_properties(absent, "net.onnx").calibration is None


def test_there_is_a_mutation_of_every_entry():
    assert MUTATIONS.keys() == ENTRIES.keys()
    assert sum(map(len, MUTATIONS.values())) > 150


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutated_entries_are_refused(name):
    for value in MUTATIONS[name]:
        message = refused(properties(**{name: value}))
        # A mean of another length does not fit the deviations.
        assert f"{name}" in message or name == "mean", (value, message)
    for text in ("", "{", "nan,", "[" * 100_000, b"\xff"):
        assert f"'{name}' is not JSON" in refused({**properties(), name: text})


def test_required_entries_may_not_be_missing():
    required = set(ENTRIES) - {
        *("padded_size", "temperature", "smoothing", "calibration", "min_area", "commit"),
        *("config", "config_sha256", "checkpoint", "checkpoint_sha256"),
    }
    for name in required:
        texts = {key: text for key, text in properties().items() if key != name}
        assert f"no '{name}' in its metadata" in refused(texts)
