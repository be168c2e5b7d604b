"""The flow is invertible, its determinant and density are exact, and training works."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from ood_seg.detectors.flow import AffineFlow, train_flow


def bent(width, *, seed=0, hidden=16, couplings=4):
    """A flow with random weights everywhere, in float64."""
    flow = AffineFlow(width, couplings, hidden, seed).double().requires_grad_(False)
    generator = torch.Generator().manual_seed(seed + 100)
    for weight in flow.parameters():
        weight.copy_(torch.randn(weight.shape, generator=generator) * 0.4)
    return flow


def banana(count=4000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randn(2, count, generator=generator)
    return torch.stack([first, (0.3 * second + first.square() - 1) / 1.5], dim=1)


@pytest.mark.parametrize("width", [2, 3, 6])
def test_invertible(width):
    flow = bent(width)
    values = 3 * torch.randn(50, width, dtype=torch.float64)
    assert not torch.allclose(flow(values)[0], values)
    assert torch.allclose(flow.inverse(flow(values)[0]), values, atol=1e-9)
    assert torch.allclose(flow(flow.inverse(values))[0], values, atol=1e-9)


@pytest.mark.parametrize("width", [2, 3, 6])
def test_determinant_is_that_of_the_jacobian(width):
    flow = bent(width)
    for values in torch.randn(4, width, dtype=torch.float64):
        jacobian = torch.autograd.functional.jacobian(lambda one: flow(one[None])[0][0], values)
        expected = torch.linalg.slogdet(jacobian).logabsdet
        assert torch.allclose(flow(values[None])[1][0], expected, atol=1e-10)
        assert abs(expected) > 1e-3


def integral(flow, reach=12.0, count=400):
    axis = torch.linspace(-reach, reach, count, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    return flow.log_density(grid).exp().sum().item() * (axis[1] - axis[0]).item() ** 2


def test_density_integrates_to_one():
    assert integral(bent(2, seed=2), reach=30, count=500) == pytest.approx(1, abs=2e-3)
    trained = train_flow(AffineFlow(2), banana(), steps=60).double().requires_grad_(False)
    assert integral(trained) == pytest.approx(1, abs=2e-3)


def test_untrained_flow_is_standard_normal():
    values = torch.randn(7, 5)
    expected = MultivariateNormal(torch.zeros(5), torch.eye(5)).log_prob(values)
    assert torch.allclose(AffineFlow(5).log_density(values), expected, atol=1e-5)


def test_one_coupling_by_hand():
    """Even channel: x0 exp(s) + t with s = 2 tanh(b / 2), t = c when only biases are set."""
    flow = AffineFlow(2, 2)
    with torch.no_grad():
        flow.couplings[0].net[-1].bias.copy_(torch.tensor([0.5, 3.0]))
    s = 2 * math.tanh(0.25)
    latent, log_det = flow(torch.tensor([[2.0, -1.0]]))
    assert latent[0].tolist() == pytest.approx([2 * math.exp(s) + 3, -1])
    assert log_det.item() == pytest.approx(s)


def test_learns_a_gaussian():
    """A linear map of normal values: the mean log density approaches minus their entropy."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    values = torch.randn(4000, 2, generator=generator) @ mix.T
    flow = train_flow(AffineFlow(2), values, steps=300, batch_size=256, noise=0)
    truth = MultivariateNormal(torch.zeros(2), mix @ mix.T).log_prob(values)
    found = flow.log_density(values)
    assert found.mean().item() == pytest.approx(truth.mean().item(), abs=0.03)
    assert np.corrcoef(found.detach(), truth)[0, 1] > 0.97


def test_learns_a_distribution_that_is_not_gaussian():
    values, held_out = banana(), banana(seed=1)
    flow = train_flow(AffineFlow(2), values, steps=400, batch_size=256)
    gaussian = MultivariateNormal(held_out.mean(0), held_out.T.cov()).log_prob(held_out).mean()
    assert flow.log_density(held_out).mean().item() > gaussian.item() + 0.4


def test_seeds_and_the_global_random_state():
    before = torch.get_rng_state()
    one, same = (train_flow(AffineFlow(2), banana(), steps=5).to_vector() for _ in range(2))
    assert torch.equal(one, same)
    assert not torch.equal(AffineFlow(2, seed=1).to_vector(), AffineFlow(2).to_vector())
    assert not torch.equal(train_flow(AffineFlow(2), banana(), steps=5, seed=1).to_vector(), one)
    assert torch.equal(torch.get_rng_state(), before)


def test_trains_inside_no_grad_and_reports_its_steps():
    calls = []
    flow = AffineFlow(2)
    with torch.inference_mode():
        train_flow(flow, banana(50), steps=3, on_step=lambda *step: calls.append(step))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert not torch.equal(flow.to_vector(), AffineFlow(2).to_vector())


def test_equal_and_distant_values_stay_finite():
    flow = train_flow(AffineFlow(4), torch.zeros(100, 4), steps=50)
    assert flow.log_density(torch.zeros(2, 4)).isfinite().all()
    assert flow.log_density(torch.full((1, 4), 1e6)).isfinite().all()


def test_vector_round_trip():
    flow = train_flow(AffineFlow(3), torch.randn(50, 3), steps=5)
    values = torch.randn(9, 3)
    copy = AffineFlow(3, seed=9).load_vector(flow.to_vector())
    assert torch.equal(copy.log_density(values), flow.log_density(values))


def test_bad_input():
    for arguments in ((1, 4), (3, 1)):
        with pytest.raises(
            ValueError, match=r"\b2 channels.*\b2 couplings.*\b{}\b.*\b{}\b".format(*arguments)
        ):
            AffineFlow(*arguments)
    with pytest.raises(ValueError, match=r"\d+ weights.*\b3\b"):
        AffineFlow(3).load_vector(torch.zeros(3))
