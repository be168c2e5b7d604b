"""One optimisation step of balanced PEBAL is that of the released trainer's formulas.

The formulas are written here a second time: probabilities instead of logarithms, images with and
without outliers in turn, all in one function, in double precision.
"""

import copy

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("mmseg")
import tiny
from mmengine.registry import init_default_scope

import ood_seg.register  # noqa: F401

init_default_scope("mmseg")
K = tiny.NUM_CLASSES
PRIOR = [0.4, 0.1, 0.05, 0.2, 0.25]
BALANCE = {"alpha": 5.0, "gamma": 3.0}
MARGINS = {"margin_in": -12.0, "margin_out": -6.0}
LOSSES = [
    {"type": "AbstentionLoss", "outlier_weight": 0.1},
    {"type": "BalancedEnergyLoss", "prior": PRIOR, "loss_weight": 0.1, **BALANCE, **MARGINS},
    {"type": "SmoothnessLoss", "loss_weight": 0.1 * 3e-6},
    {"type": "BalancedSparsityLoss", "prior": PRIOR, "loss_weight": 0.1 * 5e-4, **BALANCE},
]


def build(seed: int = 0):
    model = tiny.build(
        seed,
        num_classes=K + 1,
        energy_head={"type": "EnergyHead", "num_classes": K, "losses": LOSSES},
        closed_set_loss=False,
        freeze={"trained": ["decode_head.*"]},
    )
    return model.train()


def batch(*pasted: bool):
    """Images with or without outliers; void above."""
    samples = [tiny.batch(1, seed=seed, outliers=flag) for seed, flag in enumerate(pasted)]
    return {key: [sample[key][0] for sample in samples] for key in samples[0]}


def blur(scores: torch.Tensor) -> torch.Tensor:
    """Seven taps, sigma 1, mirrored borders, as one dense 7x7 filter."""
    offsets = torch.arange(-3.0, 4.0, dtype=scores.dtype)
    bell = torch.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / 2)
    padded = F.pad(scores[None, None], (3, 3, 3, 3), mode="reflect")
    return F.conv2d(padded, (bell / bell.sum())[None, None])[0, 0]


def abstention(logits, labels, *, pasted):
    """The first two terms of the trainer's sum; of no image, zero."""
    known_gains, outlier_gains = [], []
    for scores, targets in zip(logits, labels, strict=True):
        if bool((targets == 254).any()) != pasted:
            continue
        p = torch.softmax(scores, dim=0)
        bonus = p[K] / blur(torch.log(torch.exp(scores[:K]).sum(dim=0)) ** 2)
        for k in range(K):
            known_gains.append(torch.log(p[k] + bonus)[targets == k])
            outlier_gains.append(torch.log((p[k] + bonus).clamp(min=1e-7))[targets == 254])
    if not known_gains:
        return 0.0
    total = -torch.cat(known_gains).mean()
    return total - 0.1 * torch.cat(outlier_gains).mean() if pasted else total


def regularised_energy(logits, labels):
    """Balanced hinges, the norm of the shifted outlier energies, and differences of neighbours."""
    f = logits[:, :K]
    e = -torch.log(torch.exp(f).sum(dim=1))
    powers = torch.tensor(PRIOR, dtype=f.dtype) ** BALANCE["gamma"]
    z = (torch.softmax(f, dim=1) * (powers / powers.sum()).view(1, K, 1, 1)).sum(dim=1)
    known, outlier = labels < 254, labels == 254
    inside = (torch.relu(e[known] + 12.0) ** 2).mean()
    across, down = e[:, :, 1:] - e[:, :, :-1], e[:, 1:] - e[:, :-1]
    smooth = 3e-6 * 0.5 * ((across**2).sum() + (down**2).sum())
    if not outlier.any():
        return inside + smooth
    shifted = e[outlier] - BALANCE["alpha"] * z[outlier]
    outside = (torch.relu(-6.0 - shifted) ** 2 * z[outlier]).sum() / z[outlier].sum()
    return 0.5 * (inside + outside) + 5e-4 * (shifted**2).sum().sqrt() + smooth


def released_loss(logits, labels):
    clean, with_outliers = (abstention(logits, labels, pasted=flag) for flag in (False, True))
    return clean + with_outliers + 0.1 * regularised_energy(logits, labels)


def step(model, total):
    """Gradients of the trained parameters, and the parameters after one step of Adam."""
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    optimiser = torch.optim.Adam(trained.values(), lr=1e-5)
    total.backward()
    gradients = {name: p.grad.clone() for name, p in trained.items()}
    optimiser.step()
    return gradients, {name: p.detach().clone() for name, p in trained.items()}


@pytest.mark.parametrize("pasted", [(False, True, False), (True, True), (False, False)])
def test_step_equals_the_released_formulas(pasted):
    model, twin = build(), build()
    data = model.data_preprocessor(copy.deepcopy(batch(*pasted)), True)
    total, log = model.parse_losses(model(**data, mode="loss"))
    assert not any(name.startswith("decode.") for name in log)

    labels = torch.stack([sample.gt_sem_seg.data[0] for sample in data["data_samples"]])
    logits = F.interpolate(twin(data["inputs"], mode="tensor"), labels.shape[-2:], mode="bilinear")
    expected = released_loss(logits.double(), labels)
    torch.testing.assert_close(total.double(), expected, rtol=1e-5, atol=0)
    assert expected > 1

    gradients, after = step(model, total)
    expected_gradients, expected_after = step(twin, expected)
    assert set(gradients) == {"decode_head.conv_seg.weight", "decode_head.conv_seg.bias"}
    for name, gradient in gradients.items():
        scale = expected_gradients[name].abs().max().item()
        assert scale > 1e-3
        torch.testing.assert_close(gradient, expected_gradients[name], rtol=1e-5, atol=1e-5 * scale)
        torch.testing.assert_close(after[name], expected_after[name], rtol=1e-5, atol=1e-9)
