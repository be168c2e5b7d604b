"""WideResNet38 and its head: structure, agreement with the published network, memory."""

import contextlib

import published_networks as published
import pytest
import torch
from torch import nn

pytest.importorskip("mmseg")
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import ood_seg.register  # noqa: F401
from ood_seg.models import DeepWV3PlusHead, WideResNet38

init_default_scope("mmseg")
SMALL = published.SMALL_WIDTHS


def small_backbone(**changes) -> WideResNet38:
    options = {
        "stem_channels": SMALL["stem"],
        "channels": SMALL["mods"],
        "num_blocks": SMALL["blocks"],
    }
    return WideResNet38(**options | changes)


def small_head(**changes) -> DeepWV3PlusHead:
    options = {
        "in_channels": (SMALL["mods"][0][-1], SMALL["mods"][-1][-1]),
        "channels": SMALL["head"],
        "low_channels": SMALL["low"],
        "num_classes": 19,
    }
    return DeepWV3PlusHead(**options | changes)


def small_pair(seed: int = 0) -> tuple[WideResNet38, DeepWV3PlusHead, dict]:
    """Backbone and head in evaluation mode, and their weights under the published names."""
    weights = published.random_weights(published.deep_wv3_plus_shapes(SMALL), seed)
    backbone, head = small_backbone().eval(), small_head().eval()
    backbone.load_state_dict({k: v for k, v in weights.items() if k.startswith("mod")})
    in_head = {k: v for k, v in weights.items() if not k.startswith("mod")}
    in_head["conv_seg.weight"] = in_head.pop("final.6.weight")
    head.load_state_dict(in_head)
    return backbone, head, weights


def image(height: int = 65, width: int = 97, count: int = 1, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def at_image_size(head: DeepWV3PlusHead, logits: torch.Tensor, images: torch.Tensor):
    return head.predict_by_feat(logits, [{"img_shape": images.shape[2:]}])


def test_full_size_has_the_published_number_of_parameters_and_tensors():
    with torch.device("meta"):
        parts = nn.ModuleDict({"backbone": WideResNet38(), "head": DeepWV3PlusHead(num_classes=20)})
    assert sum(p.numel() for p in parts.parameters()) == 137_104_192
    assert len(parts.state_dict()) == 268


def test_full_size_has_the_published_names_and_shapes():
    with torch.device("meta"):
        parts = [WideResNet38(), DeepWV3PlusHead(num_classes=20)]
    ours = {key: tuple(t.shape) for part in parts for key, t in part.state_dict().items()}
    ours["final.6.weight"] = ours.pop("conv_seg.weight")
    assert ours == published.deep_wv3_plus_shapes(num_classes=20)


@pytest.mark.parametrize("size", [(65, 97), (64, 96), (41, 331)])
def test_logits_equal_those_of_the_published_network(size):
    backbone, head, weights = small_pair()
    images = image(*size, count=2)
    with torch.no_grad():
        logits = at_image_size(head, head(backbone(images)), images)
        (expected,) = published.deep_wv3_plus(weights, images)
    assert expected.std() > 0.1
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_sizes_are_rounded_up_at_each_halving():
    low, high = small_backbone().eval()(image(65, 97))
    assert low.shape == (1, 8, 33, 49)
    assert high.shape == (1, 16, 9, 13)


def test_dropout_lies_before_the_last_convolution_of_mod6_and_mod7():
    found = {n: m for n, m in small_backbone().named_modules() if isinstance(m, nn.Dropout2d)}
    assert {name: layer.p for name, layer in found.items()} == {
        "mod6.block1.convs.dropout": 0.3,
        "mod7.block1.convs.dropout": 0.5,
    }
    assert list(small_backbone().mod7.block1.convs._modules) == [
        "conv1", "bn2", "conv2", "bn3", "dropout", "conv3",
    ]  # fmt: skip
    assert nn.Dropout is not nn.Dropout2d  # the released code replaces one by the other


def test_head_starts_from_kaiming_weights():
    torch.manual_seed(0)
    head = small_head(channels=64, low_channels=16, num_classes=200)
    head.init_weights()
    for layer in (head.final[0], head.final[3], head.conv_seg, head.bot_aspp):
        fan_in = layer.weight[0].numel()
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.05)


def trained(with_cp: bool, trainable=lambda name: True):
    """Gradients and buffers after one step of a small backbone in training mode."""
    backbone = small_backbone(with_cp=with_cp)
    backbone.load_state_dict(small_pair()[0].state_dict())
    for name, parameter in backbone.named_parameters():
        parameter.requires_grad_(trainable(name))
    torch.manual_seed(0)  # of dropout
    low, high = backbone.train()(image(count=2))
    (low.square().mean() + high.square().mean()).backward()
    gradients = {n: p.grad for n, p in backbone.named_parameters() if p.requires_grad}
    return gradients, dict(backbone.named_buffers()), high.detach()


@pytest.mark.parametrize(
    "trainable", [lambda name: True, lambda name: name.startswith(("mod2", "mod6"))]
)
def test_recomputation_changes_neither_results_nor_gradients_nor_statistics(trainable):
    expected, recomputed = trained(False, trainable), trained(True, trainable)
    for ours, theirs in zip(recomputed, expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert expected[0]
    assert all(gradient.abs().sum() > 0 for gradient in expected[0].values())


@contextlib.contextmanager
def counting_kept_values():
    """Collects the number of values that autograd keeps for the backward pass."""
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def test_synchronised_batch_norms_are_recomputed_as_well():
    norm_cfg = {"type": "SyncBN", "requires_grad": True}
    backbone = small_backbone(with_cp=True, norm_cfg=norm_cfg).train()
    images = image(count=2)
    high = backbone(images)[1]
    buffers = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    high.sum().backward()
    assert backbone.mod1.conv1.weight.grad.isfinite().all()
    for name, buffer in backbone.named_buffers():
        assert torch.equal(buffer, buffers[name]), name
    counts = [b for name, b in buffers.items() if name.endswith("num_batches_tracked")]
    assert counts
    assert all(count == 1 for count in counts)


def test_recomputation_keeps_fewer_activations():
    images = image(count=2)
    kept = {}
    for with_cp in (False, True):
        with counting_kept_values() as counts:
            small_backbone(with_cp=with_cp).train()(images)
        kept[with_cp] = sum(counts)
    assert kept[True] < 0.4 * kept[False]


@pytest.mark.parametrize("with_cp", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_frozen_trunk_keeps_nothing(with_cp, training):
    backbone = small_backbone(with_cp=with_cp).train(training).requires_grad_(False)
    with counting_kept_values() as kept:
        features = backbone(image(count=2))
    assert not kept
    assert not any(maps.requires_grad for maps in features)


@pytest.mark.parametrize("with_cp", [False, True])
def test_trained_end_does_not_make_a_frozen_beginning_keep_anything(with_cp):
    backbone, head, _ = small_pair()
    backbone.with_cp = with_cp
    backbone.requires_grad_(False)
    head.requires_grad_(False)
    head.final.requires_grad_(True)
    with counting_kept_values() as kept:
        logits = head(backbone(image()))
    fused = 13 * 33 * 49  # channels and size of what enters `final`
    assert max(kept) == fused
    logits.sum().backward()
    assert all(p.grad is not None for p in head.final.parameters())


def test_built_by_name_with_synchronised_batch_norm():
    norm_cfg = {"type": "SyncBN", "requires_grad": True}
    backbone = MODELS.build({"type": "WideResNet38", "norm_cfg": norm_cfg, "num_blocks": [1] * 6})
    head = MODELS.build({"type": "DeepWV3PlusHead", "num_classes": 19, "norm_cfg": norm_cfg})
    for part in (backbone, head):
        norms = [m for m in part.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        assert norms
        assert all(isinstance(layer, nn.SyncBatchNorm) for layer in norms)
        assert {layer.eps for layer in norms} == {1e-5}
        assert {layer.momentum for layer in norms} == {0.1}


def test_wrong_structures_are_refused():
    with pytest.raises(ValueError, match=r"mod2 to mod7 \(6\), got 6 and 5"):
        small_backbone(num_blocks=(1, 1, 1, 1, 1))
    with pytest.raises(ValueError, match="two or three convolutions"):
        small_backbone(channels=[(4,)] * 6)
    with pytest.raises(ValueError, match="at least one block"):
        small_backbone(num_blocks=(1, 1, 0, 1, 1, 1))
