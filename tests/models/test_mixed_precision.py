"""Training under autocast: the losses are computed in float32 and stay near those of float32."""

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.registry import init_default_scope

import ood_seg.register  # noqa: F401

init_default_scope("mmseg")

BALANCED = {
    "type": "BalancedEnergyLoss",
    "prior": [1.0, 2.0, 3.0, 4.0, 5.0],
    "margin_in": -8.0,
    "margin_out": 0.0,
    "alpha": 3.0,
    "gamma": 1.0,
}


def losses_and_gradient(dtype):
    model = tiny.build(energy_head={"type": "EnergyHead", "losses": [BALANCED]}, freeze={})
    model.train()
    data = model.data_preprocessor(tiny.batch(), True)
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        losses = model.loss(**data)
    total, _ = model.parse_losses(losses)
    total.backward()
    return losses, model.decode_head.conv_seg.weight.grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_losses_under_autocast(dtype):
    expected, expected_gradient = losses_and_gradient(None)
    losses, gradient = losses_and_gradient(dtype)
    name = "anomaly.loss_balanced_energy"
    assert losses[name].dtype == torch.float32
    assert losses[name].item() == pytest.approx(expected[name].item(), rel=0.05)
    assert gradient.isfinite().all()
    similarity = torch.nn.functional.cosine_similarity
    assert similarity(gradient.flatten(), expected_gradient.flatten(), dim=0) > 0.98
