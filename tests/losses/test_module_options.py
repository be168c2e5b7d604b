"""Shared by all loss modules: the options are those of the function, completed and checked."""

import pytest
import torch

from ood_seg import losses

LABELS = torch.tensor([[[0, 1], [254, 255]]])
MODULES = [
    losses.EnergyLoss(margin_in=-3.0, margin_out=1.0, temperature=2.0, loss_weight=0.5),
    losses.OutlierExposureLoss(loss_weight=0.5),
    losses.MetaOODLoss(outlier_weight=0.9, loss_weight=0.5),
    losses.BalancedSparsityLoss([1.0, 2.0, 3.0], alpha=2.0, gamma=1.0, loss_weight=0.5),
    losses.CrossEntropyBalancedEnergyLoss(
        [1.0, 2.0, 3.0], energy_weight=0.1, margin_in=-3, margin_out=1, alpha=2, gamma=1,
        loss_weight=0.5,
    ),
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_module_is_the_weighted_function(module):
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    prior = [torch.tensor([1.0, 2.0, 3.0])] if hasattr(module, "set_prior") else []
    expected = type(module).function(logits, LABELS, *prior, **module.options)
    assert module(logits, LABELS).item() == pytest.approx(0.5 * expected.item(), rel=1e-6)
    assert expected.item() != 0


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
@pytest.mark.parametrize("size", [(0, 3, 2, 2), (0, 3), (2, 3, 0, 4)])
def test_no_pixel_at_all_gives_zero(module, size):
    logits = torch.zeros(size, requires_grad=True)
    value = module(logits, torch.zeros((size[0], *size[2:]), dtype=torch.int64))
    value.backward()
    assert value.item() == 0
    assert logits.grad.shape == size


def test_names_in_the_log():
    assert losses.OutlierExposureLoss().loss_name == "loss_outlier_exposure"
    assert losses.OutlierExposureLoss(loss_name="loss_far").loss_name == "loss_far"
    names = [getattr(losses, name).loss_name for name in losses.__all__ if name.endswith("Loss")]
    assert len(set(names)) == len(names)
    assert all(name.startswith("loss_") for name in names)


def test_wrong_options_are_named():
    with pytest.raises(TypeError, match=r"EnergyLoss.*\bmargin\b.*margin_in, margin_out"):
        losses.EnergyLoss(margin=3.0)
    with pytest.raises(TypeError, match="margin_in, margin_out, alpha, gamma"):
        losses.BalancedEnergyLoss(margin_in=-3.0, margin_out=1.0, alpha=1.0)


def test_defaults_are_those_of_the_function():
    options = losses.BalancedEnergyLoss(margin_in=-3, margin_out=1, alpha=1, gamma=2).options
    assert options["temperature"] == 1.0
    assert options["margin_gamma"] is None
    assert "prior" not in options
    assert "margin_in=-3" in repr(losses.EnergyLoss(margin_in=-3, margin_out=1))
