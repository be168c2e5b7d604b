"""NumPy arrays through the core: the same formulas, and the kind of the input returned."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from ood_seg import calibration, metrics, scores
from ood_seg.arrays import as_numpy, from_array
from ood_seg.smoothing import gaussian_smooth

FUNCTIONS = [
    name for name in scores.__all__ if inspect.isfunction(inspect.unwrap(getattr(scores, name)))
]
OPTIONS = {"weighted_energy": (np.linspace(0.1, 1, 6),)}


def logits(dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 3, (2, 6, 5, 7)).astype(dtype)


def both(name: str, values: np.ndarray):
    """Of the array, and of the tensor as an array."""
    function, options = getattr(scores, name), OPTIONS.get(name, ())
    tensors = [torch.from_numpy(np.ascontiguousarray(part)) for part in (values, *options)]
    expected = function(*tensors)
    found = function(values, *options)
    if isinstance(expected, tuple):
        assert isinstance(found, tuple)
        return found, tuple(part.numpy() for part in expected)
    return (found,), (expected.numpy(),)


def test_all_scores_are_found():
    assert len(FUNCTIONS) == 17


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_scores_of_arrays_are_those_of_tensors(name, dtype):
    for found, expected in zip(*both(name, logits(dtype)), strict=True):
        assert type(found) is np.ndarray
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def read_only(values):
    values.flags.writeable = False
    return values


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "change",
    [
        lambda f: f[:, :, ::-1],
        lambda f: f.transpose(0, 1, 3, 2),
        read_only,
        lambda f: f.astype(">f4"),
        np.asfortranarray,
    ],
)
def test_any_layout_in_memory_is_taken_and_not_changed(change):
    values = change(logits())
    before = values.copy()
    found = scores.energy(values)
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(found, scores.energy(np.array(values, np.float32, order="C")))


def test_the_kind_of_the_first_argument_decides():
    values, weights = logits(), np.ones(6)
    expected = scores.energy(torch.from_numpy(values))
    mixed = scores.weighted_energy(torch.from_numpy(values), weights)
    assert isinstance(mixed, torch.Tensor)
    torch.testing.assert_close(mixed, expected)
    learned = torch.nn.Parameter(torch.ones(6))
    found = scores.weighted_energy(logits=values, weights=learned)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6)


def test_tensors_keep_their_gradient():
    values = torch.from_numpy(logits()).requires_grad_()
    scores.energy(values).sum().backward()
    assert values.grad is not None


@pytest.mark.parametrize("values", [np.zeros((2, 3), int), np.zeros((2, 3), bool)])
def test_what_a_tensor_may_not_be_an_array_may_not_be(values):
    with pytest.raises(TypeError, match="floating point"):
        scores.energy(values)


def test_image_level_logits_and_a_refused_shape():
    assert scores.max_softmax(logits()[:, :, 0, 0]).shape == (2,)
    with pytest.raises(ValueError, match=r"\(6,\)"):
        scores.energy(np.zeros(6, np.float32))


def test_smoothing():
    maps = logits()[:, 0]
    found = gaussian_smooth(maps, kernel_size=3)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, gaussian_smooth(torch.from_numpy(maps), 3).numpy())


def test_calibration_takes_both():
    rng = np.random.default_rng(0)
    labels = (rng.random((40, 50)) < 0.2).astype(np.uint8)
    values = (rng.normal(size=labels.shape) + 2 * labels).astype(np.float32)
    histogram = metrics.ScoreHistogram.from_scores(values, labels)
    same = metrics.ScoreHistogram.from_scores(*map(torch.from_numpy, (values, labels)))
    np.testing.assert_array_equal(histogram.known, same.known)
    fitted = calibration.calibrate([histogram], score="Energy", data_set="drawn")
    probabilities = fitted.probability(values)
    assert type(probabilities) is np.ndarray
    tensor = fitted.probability(torch.from_numpy(values))
    assert isinstance(tensor, torch.Tensor)
    np.testing.assert_array_equal(probabilities, tensor.numpy())
    parts = probabilities.ravel(), 1 - labels.ravel(), labels.ravel()
    for one, other in zip(
        calibration.reliability(*parts),
        calibration.reliability(*map(torch.from_numpy, parts)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    alarms = [
        calibration.count_false_alarms(*pair, 1.5, min_area=2)
        for pair in ((values, labels), (torch.from_numpy(values), torch.from_numpy(labels)))
    ]
    assert alarms[0] == alarms[1] > 0


def test_there_and_back():
    values = torch.randn(3).bfloat16()
    assert as_numpy(values).dtype == np.float32
    array = np.arange(3.0)
    assert np.shares_memory(as_numpy(from_array(array)), array)
    assert from_array("text") == "text"
