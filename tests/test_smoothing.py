"""Gaussian smoothing against scipy, a hand-worked kernel and its invariances."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from ood_seg.smoothing import GaussianSmoothing, gaussian_kernel, gaussian_smooth

MAPS = torch.randn(2, 12, 15, generator=torch.Generator().manual_seed(2))


def test_kernel_is_that_of_pebal():
    expected = [0.00443305, 0.05400558, 0.24203622, 0.39905027]
    kernel = gaussian_kernel(7, 1.0)
    np.testing.assert_allclose(kernel[:4], expected, rtol=1e-6)
    np.testing.assert_allclose(kernel, kernel.flip(0))
    assert kernel.sum().item() == pytest.approx(1)


def test_smoothing_equals_scipy():
    expected = MAPS.double().numpy()
    for axis in (1, 2):  # scipy's "mirror" is torch's "reflect"
        expected = gaussian_filter1d(expected, 1.5, axis=axis, mode="mirror", radius=4)
    np.testing.assert_allclose(gaussian_smooth(MAPS.double(), 9, 1.5), expected, rtol=1e-12)


def test_constant_map_is_unchanged_and_a_shift_commutes():
    constant = torch.full((1, 8, 8), -3.25)
    torch.testing.assert_close(gaussian_smooth(constant), constant)
    torch.testing.assert_close(gaussian_smooth(MAPS + 100), gaussian_smooth(MAPS) + 100)


def test_size_one_changes_nothing():
    assert torch.equal(gaussian_smooth(MAPS, kernel_size=1), MAPS)


def test_module_equals_function():
    assert torch.equal(GaussianSmoothing(5, 2.0)(MAPS), gaussian_smooth(MAPS, 5, 2.0))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"kernel_size.*odd.*4"):
        GaussianSmoothing(kernel_size=4)
    with pytest.raises(ValueError, match=r"sigma.*0$"):
        GaussianSmoothing(sigma=0)
    with pytest.raises(ValueError, match=r"scores.*\(N, H, W\).*\(4, 4\)"):
        gaussian_smooth(torch.zeros(4, 4))
    with pytest.raises(ValueError, match=r"7-tap.*\b4\b.*\(3, 9\)"):
        gaussian_smooth(torch.zeros(1, 3, 9), kernel_size=7)
