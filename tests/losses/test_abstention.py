"""PEBAL's abstention loss: reference, published numbers, extreme logits, missing pixels."""

import math

import pytest
import torch

from ood_seg.losses import AbstentionLoss, abstention_loss
from tests import references


@pytest.fixture
def scene():
    """Five classes and the abstention: three images, the first two with outliers."""
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(3, 6, 5, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (3, 5, 6), generator=generator)
    labels[0, 1:3, 2:5] = 254
    labels[1, 2, 2] = 254
    labels[1:, 0] = 255
    return logits, labels


@pytest.mark.parametrize("weight", [0.1, 2.0])
def test_equals_reference(scene, weight):
    expected = references.abstention_loss(*(part.numpy() for part in scene), weight)
    assert abstention_loss(*scene, outlier_weight=weight).item() == pytest.approx(expected)


@pytest.mark.parametrize("reward", [1.5, 6.0])
def test_a_fixed_reward_equals_reference(scene, reward):
    expected = references.abstention_loss(*(part.numpy() for part in scene), 0.1, reward)
    loss = abstention_loss(*scene, outlier_weight=0.1, reward=reward)
    assert loss.item() == pytest.approx(expected)


def test_a_huge_reward_leaves_the_cross_entropy():
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, 1.0]]).T.reshape(1, 3, 1, 2)
    labels = torch.tensor([[[1, 0]]])
    loss = abstention_loss(logits, labels, outlier_weight=0.1, reward=1e30)
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())
    with pytest.raises(ValueError, match=r"reward.*1\.0"):
        abstention_loss(logits, labels, outlier_weight=0.1, reward=1.0)


@pytest.mark.parametrize(("images", "value"), [(slice(0, 1), 7.5063004), (slice(1, 2), 7.1315045)])
def test_equals_released_code(published_pebal_batch, images, value):
    logits, labels = published_pebal_batch
    loss = abstention_loss(logits[images], labels[images], outlier_weight=0.1)
    assert loss.item() == pytest.approx(value, rel=1e-6)


def test_both_kinds_of_images_are_averaged_separately(published_pebal_batch):
    loss = abstention_loss(*published_pebal_batch, outlier_weight=0.1)
    assert loss.item() == pytest.approx(7.5063004 + 7.1315045, rel=1e-6)


def test_constant_map_worked_by_hand():
    # Two classes of logit 0 and the abstention log 2: p = (1/4, 1/4, 1/2), a = (log 2)^2.
    logits = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    logits[:, 2] = math.log(2)
    gain = math.log(0.25 + 0.5 / math.log(2) ** 2)
    known = torch.zeros(1, 4, 4, dtype=torch.long)
    assert abstention_loss(logits, known, outlier_weight=0.1).item() == pytest.approx(-gain)
    outlier = torch.full((1, 4, 4), 254)
    assert abstention_loss(logits, outlier, outlier_weight=0.1).item() == pytest.approx(-0.1 * gain)


def test_gradient_matches_finite_differences(scene):
    logits = scene[0][1:, :, :4, :4].clone().requires_grad_()
    labels = scene[1][1:, :4, :4]
    assert torch.autograd.gradcheck(
        lambda f: abstention_loss(f, labels, outlier_weight=0.5), (logits,)
    )


def test_the_reward_has_a_gradient(scene):
    # An ignored pixel contributes only through the reward of its neighbours.
    logits = scene[0][2:].clone().requires_grad_()
    abstention_loss(logits, scene[1][2:], outlier_weight=0.1).backward()
    assert logits.grad[0, :5, 0].abs().max() > 0


@pytest.mark.parametrize("gap", [120.0, 1e4])
def test_large_gaps_stay_finite_and_keep_their_gradient(gap):
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 1] = gap  # the label is class 0, whose probability underflows
    logits.requires_grad_()
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    loss = abstention_loss(logits, labels, outlier_weight=0.1)
    loss.backward()
    # log(p_0 + r / a) with p_0 = r = exp(-gap) and a = gap^2.
    assert loss.item() == pytest.approx(gap - math.log1p(gap**-2), rel=1e-6)
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[:, 1].sum().item() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("kind", [0, 254, 255])
def test_one_kind_of_pixel_is_finite(scene, kind):
    logits = scene[0].clone().requires_grad_()
    labels = torch.full_like(scene[1], kind)
    loss = abstention_loss(logits, labels, outlier_weight=0.1)
    loss.backward()
    expected = references.abstention_loss(scene[0].numpy(), labels.numpy(), 0.1)
    assert loss.item() == pytest.approx(expected)
    assert torch.isfinite(logits.grad).all()


def test_zero_energy_everywhere_is_finite():
    logits = torch.full((1, 3, 4, 4), -math.log(2), dtype=torch.float64).requires_grad_()
    loss = abstention_loss(logits, torch.zeros(1, 4, 4, dtype=torch.long), outlier_weight=0.1)
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(logits.grad).all()


def test_mixed_precision_computes_in_float32(scene):
    logits, labels = (20 * scene[0]).bfloat16(), scene[1]
    expected = abstention_loss(logits.float(), labels, outlier_weight=0.1)
    with torch.autocast("cpu", torch.bfloat16):
        value = abstention_loss(logits, labels, outlier_weight=0.1)
    assert value.dtype == torch.float32
    assert value.item() == expected.item()


def test_inputs_are_not_modified(scene):
    before = [part.clone() for part in scene]
    abstention_loss(*scene, outlier_weight=0.1)
    assert all(torch.equal(*pair) for pair in zip(before, scene, strict=True))


def test_module_equals_function_and_takes_all_channels(scene):
    module = AbstentionLoss(outlier_weight=0.3, kernel_size=3, sigma=0.5, loss_weight=0.5)
    value = abstention_loss(*scene, outlier_weight=0.3, kernel_size=3, sigma=0.5)
    assert module(*scene).item() == pytest.approx(0.5 * value.item())
    assert module.channels == "all"


def test_bad_inputs_are_refused(scene):
    logits, labels = scene
    with pytest.raises(ValueError, match=r"labels.*0\.\.3.*0\.\.4"):
        abstention_loss(logits[:, :5], labels, outlier_weight=0.1)
    with pytest.raises(ValueError, match=r"\(N, K \+ 1, H, W\)"):
        abstention_loss(logits[..., 0], labels[..., 0], outlier_weight=0.1)
    with pytest.raises(ValueError, match=r"7-tap.*\b4\b.*\(\d+, 3\)"):
        abstention_loss(logits[..., :3], labels[..., :3], outlier_weight=0.1)
