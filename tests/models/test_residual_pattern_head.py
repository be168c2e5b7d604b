"""The residual pattern head: frozen logits untouched, the block where the release has it."""

import copy

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("mmseg")
import tiny
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS, TRANSFORMS

import ood_seg.register  # noqa: F401
from ood_seg import scores
from ood_seg.checkpoints import check_matches
from ood_seg.losses import context_robust_contrastive_loss
from ood_seg.smoothing import gaussian_smooth

init_default_scope("mmseg")
ALLOWED = [r"^decode_head\.residual_block\."]
SMALL = {"in_channels": 16, "channels": 8, "num_classes": 5, "norm_cfg": {"type": "BN"}}
HEADS = {
    "FCNHead": {**SMALL, "num_convs": 1},
    "ASPPHead": {**SMALL, "dilations": (1, 3)},
    "DepthwiseSeparableASPPHead": {
        **SMALL,
        "dilations": (1, 3),
        "c1_in_channels": 6,
        "c1_channels": 3,
    },
    "DeepWV3PlusHead": {
        "in_channels": (6, 16),
        "channels": 8,
        "low_channels": 4,
        "num_classes": 5,
        "dilations": (2, 3),
    },
}


def features(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(2, 6, 11, 13, generator=generator),
        torch.randn(2, 16, 3, 4, generator=generator),
    ]


def randomised(head, seed=0):
    """The head with random weights and statistics."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in head.state_dict().items():
        if tensor.is_floating_point():
            tensor.normal_(0, 0.3, generator=generator)
            if name.endswith("running_var"):
                tensor.abs_().add_(0.5)
    return head


def plain(kind):
    return randomised(MODELS.build({"type": kind, **HEADS[kind]})).eval()


def wrapped(kind, block=None, source=None):
    """A residual pattern head that has loaded the weights of a plain one."""
    head = MODELS.build(
        {"type": "ResidualPatternHead", "wraps": kind, "block": block or {}, **HEADS[kind]}
    )
    head.load_state_dict((source or plain(kind)).state_dict(), strict=False)
    return head


def tiny_model(**block):
    """The tiny ERFNet with a block of 8 channels; only the block trains."""
    head = tiny.head_config(
        type="ResidualPatternHead", wraps="FCNHead", block={"channels": 8, **block}
    )
    return tiny.build(
        decode_head=head,
        freeze={"trained": ["decode_head.residual_block.*"]},
        closed_set_loss=False,
        energy_head={
            "type": "EnergyHead",
            "num_classes": 5,
            "score": {"type": "ResidualEnergy"},
            "smoothing": {"kernel_size": 7, "sigma": 1.0},
            "losses": [{"type": "ResidualPatternLoss", "outlier_weight": 1.0}],
        },
    )


def plain_model():
    return MODELS.build(ConfigDict(tiny.model_config(type="EncoderDecoder"))).eval()


def train(model, iterations, lr=3e-2, seed=0):
    """A few steps on synthetic scenes whose outliers are bright; returns the last losses."""
    model.train()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr)
    for step in range(iterations):
        data = model.data_preprocessor(bright_outliers(seed + step % 4), True)
        losses = model(**data, mode="loss")
        optimiser.zero_grad()
        losses["anomaly.loss_residual_pattern"].backward()
        optimiser.step()
    model.eval()
    return losses


def bright_outliers(seed):
    """A batch whose outlier pixels look different from the others."""
    data = tiny.batch(seed=seed)
    for image, sample in zip(data["inputs"], data["data_samples"], strict=True):
        image.clamp_(max=127)
        image[:, sample.gt_sem_seg.data[0] == 254] += 128
    return data


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("training", [False, True])
def test_class_logits_are_exactly_those_of_the_wrapped_head(kind, training):
    head = wrapped(kind, {"initial_output": "kaiming"})
    head.train(training)
    logits = head(features())
    assert torch.equal(logits[:, :5], plain(kind)(features()))
    assert not torch.equal(logits[:, 5:], logits[:, :5])


@pytest.mark.parametrize("kind", HEADS)
def test_parameter_names_are_the_wrapped_heads_and_the_blocks(kind):
    head, own = wrapped(kind), plain(kind)
    names = [name for name in head.state_dict() if not name.startswith("residual_block.")]
    assert names == list(own.state_dict())
    assert isinstance(head, type(own))


def test_residual_enters_after_the_concatenation_of_deepwv3plus_by_hand():
    head = wrapped("DeepWV3PlusHead", {"initial_output": "kaiming"}).eval()
    block = head.residual_block
    low, high = features()
    # As released: pyramid, 1x1, upsampled with corners aligned, 1x1 to the fused channels.
    hidden = block.bot_aspp(block.aspp(high))
    hidden = F.interpolate(hidden, low.shape[-2:], mode="bilinear", align_corners=True)
    fused = head.fuse([low, high]) + block.output(hidden)
    expected = head.conv_seg(head.final(fused))
    assert block.output.out_channels == 4 + 8
    torch.testing.assert_close(head([low, high])[:, 5:], expected, rtol=1e-4, atol=1e-5)


def test_residual_enters_before_the_separable_bottleneck_by_hand():
    head = wrapped("DepthwiseSeparableASPPHead", {"initial_output": "kaiming"}).eval()
    own = plain("DepthwiseSeparableASPPHead")
    found = []
    own.sep_bottleneck.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    own(features())
    block = head.residual_block
    hidden = block.output(block.bot_aspp(block.aspp(features()[1])))
    residual = F.interpolate(hidden, (11, 13), mode="bilinear", align_corners=False)
    expected = own.conv_seg(own.sep_bottleneck(found[0] + residual))
    torch.testing.assert_close(head(features())[:, 5:], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["ASPPHead", "DepthwiseSeparableASPPHead", "DeepWV3PlusHead"])
def test_pyramid_starts_as_a_copy_of_the_pretrained_one(kind):
    head, own, high = wrapped(kind).eval(), plain(kind), features()[1]
    if kind == "DeepWV3PlusHead":
        expected = own.bot_aspp(own.aspp(high))
        found = head.residual_block(high)
    else:
        image = F.interpolate(own.image_pool(high), high.shape[-2:])
        expected = torch.cat([image, *own.aspp_modules(high)], dim=1)
        found = head.residual_block.aspp(high)
    torch.testing.assert_close(found, expected)
    changed = next(head.residual_block.aspp.parameters())
    assert changed.requires_grad
    changed.data.zero_()  # a copy: the frozen pyramid keeps its weights
    assert torch.equal(head.eval()(features())[:, :5], own(features()))


def test_a_checkpoint_with_a_block_brings_its_own_pyramid():
    trained = wrapped("DeepWV3PlusHead")
    randomised(trained.residual_block, seed=9)
    head = wrapped("DeepWV3PlusHead")
    head.load_state_dict(trained.state_dict(), strict=True)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(head.state_dict()[name], tensor), name


def test_zero_output_starts_from_the_pretrained_energy():
    logits = wrapped("DeepWV3PlusHead").eval()(features())
    torch.testing.assert_close(logits[:, 5:], logits[:, :5])


def test_released_initialisation_survives_init_weights_and_stays_untrained():
    head = wrapped("DeepWV3PlusHead", {"initial_output": "kaiming"})
    head.init_weights()
    output = head.residual_block.output.weight
    assert not output.requires_grad
    assert output.std().item() == pytest.approx((2 / 8) ** 0.5, rel=0.3)
    zeros = wrapped("DeepWV3PlusHead")
    zeros.init_weights()  # the wrapped head's init_cfg covers every convolution
    assert zeros.residual_block.output.weight.abs().sum() == 0


def test_only_the_block_gets_a_gradient_and_only_there_is_a_graph():
    model = tiny_model(initial_output="zeros")
    model.train()
    data = model.data_preprocessor(tiny.batch(), True)
    assert not model.extract_feat(data["inputs"])[0].requires_grad
    logits = model.decode_head(model.extract_feat(data["inputs"]))
    class_logits, _ = model.decode_head._frozen_forward(model.extract_feat(data["inputs"]))
    assert logits.requires_grad
    assert not class_logits.requires_grad
    model(**data, mode="loss")["anomaly.loss_residual_pattern"].backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {n for n, _ in model.named_parameters() if "residual_block" in n}


@pytest.mark.parametrize("norm_statistics", ["updated", "fixed"])
def test_only_the_blocks_norms_are_in_training_mode(norm_statistics):
    model = tiny_model(norm_statistics=norm_statistics).train()
    kinds = (torch.nn.BatchNorm2d, torch.nn.modules.dropout._DropoutNd)
    for name, layer in model.named_modules():
        if isinstance(layer, kinds):
            expected = "residual_block" in name and norm_statistics == "updated"
            assert layer.training == expected, name
    assert model.decode_head.conv_seg.training is False


def test_labels_and_class_logits_stay_those_of_the_pretrained_model_after_training():
    model, own = tiny_model(), plain_model()
    weights = {k: v.clone() for k, v in model.state_dict().items() if "residual" not in k}
    own.load_state_dict(weights)
    train(model, 5)
    for name, tensor in weights.items():
        assert torch.equal(model.state_dict()[name], tensor), name
    data = tiny.batch(outliers=False)
    with torch.no_grad():
        ours, theirs = (m.test_step(copy.deepcopy(data)) for m in (model, own))
    for found, expected in zip(ours, theirs, strict=True):
        assert torch.equal(found.pred_sem_seg.data, expected.pred_sem_seg.data)
        # Equal where the head gives them; resizing twice the channels may round otherwise.
        torch.testing.assert_close(found.seg_logits.data, expected.seg_logits.data)


def test_score_is_the_blurred_energy_of_the_corrected_logits():
    model = tiny_model(initial_output="kaiming")
    data = tiny.batch(1, outliers=False)
    with torch.no_grad():
        (sample,) = model.test_step(copy.deepcopy(data))
        logits = model(model.data_preprocessor(data, False)["inputs"], mode="tensor")
    logits = F.interpolate(logits, (32, 48), mode="bilinear", align_corners=False)
    expected = gaussian_smooth(scores.energy(logits[:, 5:]), 7, 1.0)
    torch.testing.assert_close(sample.pred_anomaly.data, expected)


def test_sliding_windows_collect_both_sets_of_logits():
    model = tiny_model(initial_output="kaiming")
    model.test_cfg = ConfigDict(mode="slide", crop_size=(24, 24), stride=(16, 16))
    with torch.no_grad():
        (sample,) = model.test_step(tiny.batch(1, outliers=False))
    assert sample.seg_logits.data.shape == (5, 32, 48)
    assert sample.pred_anomaly.data.shape == (1, 32, 48)


def outlier_gap(model):
    """Mean energy of outlier pixels minus that of known ones, on scenes that were not trained."""
    data = model.data_preprocessor(bright_outliers(99), True)
    labels = torch.stack([s.gt_sem_seg.data[0] for s in data["data_samples"]])
    with torch.no_grad():
        logits = model(data["inputs"], mode="tensor")
    energies = scores.residual_energy(F.interpolate(logits, labels.shape[-2:], mode="bilinear"))
    return (energies[labels == 254].mean() - energies[labels < 254].mean()).item(), energies


def test_twenty_iterations_separate_the_energies_and_survive_save_and_load(tmp_path):
    model = tiny_model()
    before, _ = outlier_gap(model)
    train(model, 20)
    after, energies = outlier_gap(model)
    assert after > before + 1
    torch.save(model.state_dict(), tmp_path / "block.pth")
    loaded = tiny_model()
    loaded.load_state_dict(torch.load(tmp_path / "block.pth", weights_only=True), strict=True)
    assert torch.equal(outlier_gap(loaded.eval())[1], energies)


def test_checkpoint_guard_lets_only_the_block_be_missing():
    model, own = tiny_model(), plain_model()
    weights = own.state_dict()
    check_matches(model, weights, allowed=ALLOWED)
    with pytest.raises(ValueError, match=r"missing \(decode_head\.residual_block\."):
        check_matches(model, weights)
    del weights["decode_head.conv_seg.bias"]
    with pytest.raises(ValueError, match=r"1 missing \(decode_head\.conv_seg\.bias\)"):
        check_matches(model, weights, allowed=ALLOWED)


def test_copies_of_a_model_do_not_share_state():
    model = tiny_model()
    twin = copy.deepcopy(model)
    train(twin, 2)
    assert torch.equal(model.decode_head.residual_block.output.weight.sum(), torch.tensor(0.0))
    assert twin.decode_head.residual_block.output.weight.abs().sum() > 0


def test_the_head_can_be_exported():
    head = wrapped("DeepWV3PlusHead", {"initial_output": "kaiming"}).eval()
    exported = torch.export.export(head, (features(),), strict=False).module()
    torch.testing.assert_close(exported(features(2)), head(features(2)))


def test_closed_set_loss_is_refused():
    model = tiny_model()
    model.closed_set_loss = True
    data = model.data_preprocessor(tiny.batch(), True)
    with pytest.raises(ValueError, match="closed_set_loss=False"):
        model(**data, mode="loss")


@pytest.mark.parametrize("kind", ["Energy", "NoSuchHead"])
def test_wrapping_something_else_raises(kind):
    with pytest.raises(ValueError, match=f"wraps='{kind}'"):
        MODELS.build({"type": "ResidualPatternHead", "wraps": kind, **SMALL})


def test_heads_with_their_own_training_loss_are_refused():
    with pytest.raises(ValueError, match="PointHead"):
        MODELS.build({"type": "ResidualPatternHead", "wraps": "PointHead"})


class OwnClassifier(BaseDecodeHead):
    """A head that never calls `conv_seg`."""

    def forward(self, inputs):
        return inputs[-1][:, : self.num_classes]


def test_heads_without_a_classifier_are_refused():
    MODELS.register_module(module=OwnClassifier, force=True)
    head = MODELS.build({"type": "ResidualPatternHead", "wraps": "OwnClassifier", **SMALL})
    with pytest.raises(ValueError, match="conv_seg"):
        head(features())


@pytest.mark.parametrize("option", [{"dilations": (2, 4)}, {"norm_cfg": {"type": "BN"}}])
def test_options_of_a_new_pyramid_are_refused_where_one_is_copied(option):
    with pytest.raises(ValueError, match=r"block\.dilations"):
        wrapped("DeepWV3PlusHead", option)


def test_a_block_of_other_width_copies_what_fits():
    head, own = wrapped("DeepWV3PlusHead", {"channels": 12}), plain("DeepWV3PlusHead")
    assert head.residual_block.bot_aspp.weight.shape[0] == 12
    assert torch.equal(head.residual_block.aspp.img_conv[0].weight, own.aspp.img_conv[0].weight)


@pytest.mark.parametrize("option", [{"initial_output": "ones"}, {"norm_statistics": "batch"}])
def test_unknown_options_raise(option):
    with pytest.raises(ValueError, match=r"initial_output.*norm_statistics"):
        wrapped("FCNHead", option)


def contrast_model():
    """The tiny network whose block also learns from the contrastive loss."""
    head = tiny.head_config(
        type="ResidualPatternHead",
        wraps="FCNHead",
        block={"channels": 8, "projection_channels": 6},
        contrast={"type": "ContextRobustContrastiveLoss", "samples": 10_000},
    )
    return tiny.build(
        decode_head=head,
        freeze={"trained": ["decode_head.residual_block.*"]},
        closed_set_loss=False,
        energy_head={
            "type": "EnergyHead",
            "num_classes": 5,
            "score": {"type": "ResidualEnergy"},
            "losses": [{"type": "ResidualPatternLoss"}],
        },
    )


def scenes_and_a_whole_image():
    """Two driving scenes and a whole image with void around an object, as loaders give them."""
    data = tiny.batch(2)
    image = torch.randint(0, 256, (32, 48, 3), dtype=torch.uint8).numpy()
    labels = torch.zeros(32, 48, dtype=torch.uint8).numpy()
    labels[4:20, 8:30] = 254
    labels[:, 40:] = 255
    packed = TRANSFORMS.build({"type": "PackOutlierImage", "meta_keys": ()})(
        {"img": image, "gt_seg_map": labels}
    )
    for name, value in packed.items():
        data[name].append(value)
    return data


def test_a_whole_image_is_void_to_all_but_the_contrastive_loss():
    data = scenes_and_a_whole_image()
    whole = data["data_samples"][2]
    assert (whole.gt_sem_seg.data == 255).all()
    assert whole.gt_context.data.shape == (1, 32, 48)
    assert whole.gt_context.data.unique().tolist() == [0, 254, 255]


def test_contrastive_loss_compares_the_projections_at_the_features_size():
    model = contrast_model().train()
    found = []
    block = model.decode_head.residual_block
    block.projection.register_forward_hook(lambda *arguments: found.append(arguments[2]))
    data = model.data_preprocessor(scenes_and_a_whole_image(), True)
    losses = model(**data, mode="loss")
    samples = data["data_samples"]
    labels = torch.stack([s.gt_sem_seg.data[0] for s in samples])[:, ::2, ::2]
    context = torch.full_like(labels, 255)
    context[2] = samples[2].gt_context.data[0, ::2, ::2]
    assert found[0].shape == (3, 6, 16, 24)
    counts = [(labels == 254).sum(), (labels < 254).sum(), (context == 254).sum()]
    count = int(min(*counts, (context == 0).sum()))
    assert count == counts[0] > 0  # so all outliers of the scenes are drawn
    torch.manual_seed(0)
    expected = context_robust_contrastive_loss(found[0], labels, context, samples=10_000)
    torch.manual_seed(0)
    value = model(**data, mode="loss")["anomaly.loss_contrast"]
    torch.testing.assert_close(value, expected)
    assert "anomaly.loss_residual_pattern" in losses


def test_contrastive_loss_trains_pyramid_and_projection():
    model = contrast_model().train()
    data = model.data_preprocessor(scenes_and_a_whole_image(), True)
    model(**data, mode="loss")["anomaly.loss_contrast"].backward()
    block = model.decode_head.residual_block
    for part in (block.projection, block.bot_aspp, block.aspp):
        assert all(p.grad.abs().sum() > 0 for name, p in part.named_parameters() if "0.w" in name)
    assert block.output.weight.grad is None
    assert model.decode_head._projected is None  # no graph is kept


def test_no_projection_is_computed_at_inference():
    model = contrast_model()
    with torch.no_grad():
        model(torch.randn(1, 3, 32, 48), mode="tensor")
    assert model.decode_head.feature_losses([]) == {}


def test_a_contrast_without_projection_raises():
    head = {**HEADS["FCNHead"], "contrast": {"type": "ContextRobustContrastiveLoss"}}
    with pytest.raises(ValueError, match=r"block\.projection_channels"):
        MODELS.build({"type": "ResidualPatternHead", "wraps": "FCNHead", **head})
