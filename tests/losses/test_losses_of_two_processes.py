"""Two gloo processes: every loss and its averaged gradient are those of one global batch."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from process_group import process_group, run_on_ranks

from ood_seg import losses
from ood_seg.scores import energy

MARGINS = {"margin_in": -4.0, "margin_out": -1.0}
BALANCE = {"alpha": 3.0, "gamma": 2.0}
PRIOR = [0.4, 0.1, 0.0, 0.2, 0.3]
SHARES = ([0], [1, 2])  # images of the ranks

LOSSES = {
    "energy": losses.EnergyLoss(**MARGINS),
    "balanced": losses.BalancedEnergyLoss(PRIOR, **BALANCE, **MARGINS),
    "joint": losses.CrossEntropyEnergyLoss(energy_weight=0.1, **MARGINS),
    "balanced joint": losses.CrossEntropyBalancedEnergyLoss(
        PRIOR, energy_weight=0.1, **BALANCE, **MARGINS
    ),
    "exposure": losses.OutlierExposureLoss(),
    "meta": losses.MetaOODLoss(outlier_weight=0.9),
    "abstention": losses.AbstentionLoss(outlier_weight=0.1, kernel_size=3),
    "residual pattern": losses.ResidualPatternLoss(),
    "likelihood ratio": losses.LikelihoodRatioLoss(),
    "evidential": losses.EvidentialLoss(),
    "extra class": losses.ExtraClassLoss(),
    "dense hybrid": lambda logits, labels: losses.dense_hybrid_loss(
        torch.cat([logits, logits[:, :2]], dim=1), labels, detach_regulariser=False
    ),
    "dirichlet": lambda logits, labels: losses.dirichlet_loss(
        torch.cat([logits, logits.flip(1)], dim=1), labels
    ),
    "smoothness": losses.SmoothnessLoss(loss_weight=1.0),
    "mean smoothness": losses.SmoothnessLoss(loss_weight=1.0, normalise=True),
    "sparsity": losses.SparsityLoss(loss_weight=1.0),
    "mean sparsity": losses.SparsityLoss(loss_weight=1.0, normalise=True),
    "balanced sparsity": losses.BalancedSparsityLoss(PRIOR, loss_weight=1.0, **BALANCE),
    "distillation": lambda logits, labels: losses.distillation_loss(
        logits, logits.detach().flip(1), labels, temperature=2.0
    ),
    "smoothness of squares": lambda logits, labels: losses.smoothness(energy(logits)) ** 2,
}


def batches() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Three images; one channel beyond the classes for the abstention."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(3, 6, 5, 6, generator=generator, dtype=torch.float64)
    mixed = torch.randint(0, 5, (3, 5, 6), generator=generator)
    mixed[:, 0] = 255
    mixed[0, 2, 1:3] = 254
    mixed[1, 1:4] = 254
    no_outlier_on_one, no_known_on_one, nothing_on_one = (mixed.clone() for _ in range(3))
    no_outlier_on_one[0, 2, 1:3] = 0
    no_known_on_one[0] = 254
    nothing_on_one[0] = 255
    nothing_on_both = torch.full_like(mixed, 255)
    confident = logits.clone()
    confident[0, 2] += 400.0  # Z underflows on this rank, but not on the other
    return {
        "uneven": (logits, mixed),
        "a rank without outliers": (logits, no_outlier_on_one),
        "a rank without known pixels": (logits, no_known_on_one),
        "a rank of ignored pixels": (logits, nothing_on_one),
        "only ignored pixels": (logits, nothing_on_both),
        "no outlier on any rank": (logits, mixed.masked_fill(mixed == 254, 1)),
        "confident on one rank": (confident, mixed),
    }


def value_and_gradient(name: str, logits, labels):
    loss = LOSSES[name]
    logits = logits.clone().requires_grad_()
    channels = slice(None) if getattr(loss, "channels", "") == "all" else slice(5)
    value = loss(logits[:, channels], labels)
    value.backward()
    return value.detach(), logits.grad


def run_rank(rank: int, folder: str) -> None:
    """Entry of one process."""
    with process_group(rank, 2, folder):
        results = {}
        for batch, (logits, labels) in batches().items():
            for name in LOSSES:
                share = SHARES[rank]
                value, part = value_and_gradient(name, logits[share], labels[share])
                gradient = torch.zeros_like(logits)
                gradient[share] = part
                dist.all_reduce(gradient)
                results[batch, name] = value, gradient / 2  # as data-parallel training averages
                if rank == 0:  # without the other rank
                    with losses.this_process_only():
                        results["alone", batch, name] = value_and_gradient(name, logits, labels)
        torch.save(results, f"{folder}/{rank}.pth")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    run_on_ranks(run_rank, str(folder))
    return [torch.load(folder / f"{rank}.pth", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("batch", batches())
@pytest.mark.parametrize("name", LOSSES)
def test_value_and_averaged_gradient_are_those_of_one_process(ranks, batch, name):
    expected = value_and_gradient(name, *batches()[batch])
    assert all(torch.isfinite(part).all() for part in expected)
    for results in ranks:
        torch.testing.assert_close(results[batch, name], expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(ranks[0]["alone", batch, name], expected)


def test_the_mean_of_the_ranks_losses_would_differ():
    logits, labels = batches()["uneven"]
    for name in ("balanced", "abstention", "sparsity"):
        parts = [value_and_gradient(name, logits[s], labels[s])[0] for s in SHARES]
        whole = value_and_gradient(name, logits, labels)[0]
        assert abs(sum(parts) / 2 - whole) > 1e-3
