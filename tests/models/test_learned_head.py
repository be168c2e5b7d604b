"""A learned head: logits untouched, its channels behind them, alone and beside a fork."""

import copy

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("mmseg")
import branched_models as branched
import tiny
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import ood_seg.register  # noqa: F401
from ood_seg import scores
from ood_seg.checkpoints import check_matches
from ood_seg.models import LearnedHead
from ood_seg.models.layer_fusion import LayerFusion
from ood_seg.models.tta import OODTTAModel

init_default_scope("mmseg")
LAYERS = {"backbone.encoder.2": 8, "backbone.encoder.4": 16, "decode_head.conv_seg": 5}
HEAD = {
    "type": "LearnedHead",
    "layers": list(LAYERS),
    "in_channels": list(LAYERS.values()),
    "out_channels": 2,
    "channels": 12,
    "convs": [(8, 3, 2)],
}
METHOD = {
    "learned_head": HEAD,
    "closed_set_loss": False,
    "energy_head": {
        "type": "EnergyHead",
        "score": {"type": "LikelihoodRatio"},
        "losses": [{"type": "LikelihoodRatioLoss"}],
    },
}
FROZEN = {**METHOD, "freeze": {"trained": ["learned_head.*"]}}


def model_with_head(name="erfnet", **changes):
    """A model with random weights, whose head adds as much as the logits."""
    model = branched.build(name, **{**METHOD, **changes})
    torch.nn.init.normal_(model.learned_head.output.weight)
    return model


def plain_of(model, name="erfnet"):
    """The model without a head."""
    plain = branched.build(name)
    own = plain.state_dict()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if k in own}, strict=True)
    return plain


def predict(model, data=None):
    with torch.no_grad():
        return model.test_step(copy.deepcopy(data or tiny.batch(2, size=(64, 96))))


def bright_outliers(seed):
    """A batch whose outlier pixels look different from the others."""
    data = tiny.batch(seed=seed)
    for image, sample in zip(data["inputs"], data["data_samples"], strict=True):
        image.clamp_(max=127)
        image[:, sample.gt_sem_seg.data[0] == 254] += 128
    return data


def train(model, iterations, lr=1e-2):
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr)
    for step in range(iterations):
        losses = model(**model.data_preprocessor(bright_outliers(step % 4), True), mode="loss")
        optimiser.zero_grad()
        sum(value for name, value in losses.items() if "loss" in name).backward()
        optimiser.step()
    model.eval()


def test_fusion_is_one_convolution_of_all_maps_at_the_size_of_the_first():
    torch.manual_seed(0)
    fusion = LayerFusion(["a", "b", "c"], [3, 4, 2], 5)
    maps = [torch.randn(2, 3, 8, 12), torch.randn(2, 4, 4, 6), torch.randn(2, 2, 16, 24)]
    joined = torch.cat([F.interpolate(m, (8, 12), mode="bilinear") for m in maps], dim=1)
    weight = torch.cat([conv.weight for conv in fusion.convs], dim=1)
    expected = F.conv2d(joined, weight, fusion.convs[0].bias).relu()
    torch.testing.assert_close(fusion(maps), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("keep_logits", [True, False])
@pytest.mark.parametrize("name", ["erfnet", "deepwv3plus", "segformer"])
def test_labels_and_logits_stay_and_the_score_is_that_of_all_channels(name, keep_logits):
    head = {**HEAD, "layers": ["decode_head.conv_seg", "penultimate"]}
    head["in_channels"] = [5, branched.build(name).decode_head.conv_seg.in_channels]
    model = model_with_head(name, learned_head=head)
    plain = plain_of(model, name)
    model.keep_logits = plain.keep_logits = keep_logits
    data = model.data_preprocessor(tiny.batch(2, size=(64, 96)), False)
    with torch.no_grad():
        small = plain.small_logits(data["inputs"])
        found = {}
        classifier = plain.decode_head.conv_seg
        classifier.register_forward_hook(lambda _, args, out: found.update(x=args[0], f=out))
        plain.small_logits(data["inputs"])
        extra = model.learned_head([found["f"], found["x"]])
        assert torch.equal(model.small_logits(data["inputs"])[:, :5], small)
        both = torch.cat([small, F.interpolate(extra, small.shape[-2:], mode="bilinear")], dim=1)
        both = F.interpolate(both, (64, 96), mode="bilinear", align_corners=model.align_corners)
        expected = both[:, 6] - both[:, 5] - both[:, :5].amax(dim=1)
    for sample, other, score in zip(predict(model), predict(plain), expected, strict=True):
        assert torch.equal(sample.pred_sem_seg.data, other.pred_sem_seg.data)
        torch.testing.assert_close(sample.pred_anomaly.data[0], score, rtol=1e-4, atol=1e-4)
        if keep_logits:
            torch.testing.assert_close(sample.seg_logits.data, other.seg_logits.data)


def test_only_the_head_learns_and_finds_new_outliers():
    model = branched.build("erfnet", **FROZEN)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train(model, 25)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {name for name, _ in model.named_parameters() if "learned_head" in name}
    data = model.data_preprocessor(bright_outliers(99), True)
    labels = torch.stack([s.gt_sem_seg.data[0] for s in data["data_samples"]])
    with torch.no_grad():
        logits = F.interpolate(model(data["inputs"], mode="tensor"), labels.shape[-2:])
    score = scores.likelihood_ratio(logits)
    baseline = scores.max_logit(logits[:, :5])

    def auroc(values):
        outlier, known = values[labels == 254], values[labels < 254]
        return (outlier[:, None] > known[None]).double().mean()

    assert auroc(score) > auroc(baseline) + 0.1
    assert auroc(score) > 0.8


def test_no_graph_is_made_of_the_frozen_part():
    model = branched.build("erfnet", **FROZEN).train()
    logits = model._forward(torch.randn(1, 3, 32, 48))
    assert logits.requires_grad
    assert not model.decode_head(model.extract_feat(torch.randn(1, 3, 32, 48))).requires_grad
    assert model.learned_head.training
    assert not any(m.training for m in model.backbone.modules() if "Norm" in type(m).__name__)


def test_norms_of_the_head_learn_beside_fixed_ones():
    head = {**HEAD, "norm_cfg": {"type": "BN"}}
    model = branched.build("erfnet", **{**FROZEN, "learned_head": head}).train()
    norms = {n: m.training for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert {name for name, on in norms.items() if on} == {
        "learned_head.fusion.norm",
        "learned_head.convs.0.bn",
    }


def test_a_checkpoint_without_a_head_starts_a_training_and_one_with_it_loads_into_both():
    model = model_with_head()
    plain = plain_of(model)
    with pytest.raises(ValueError, match=r"missing \(learned_head\."):
        check_matches(model, plain.state_dict())
    check_matches(model, plain.state_dict(), allowed=[r"^learned_head\."])
    other = branched.build("erfnet", **METHOD)
    other.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(predict(other)[0].pred_anomaly.data, predict(model)[0].pred_anomaly.data)
    with pytest.raises(ValueError, match=r"unexpected \(learned_head\."):
        check_matches(plain, model.state_dict())
    check_matches(plain, model.state_dict(), allowed=[r"^learned_head\."])


FORKS = [
    ["decode_head.*"],  # the backbone, with two of the layers, is shared
    ["backbone.decoder.*", "decode_head.*"],
    ["backbone.encoder.[34].*", "backbone.decoder.*", "decode_head.*"],
    ["*"],
]


@pytest.mark.parametrize("fork", FORKS, ids=[fork[0] for fork in FORKS])
@pytest.mark.parametrize("keep_logits", [True, False])
def test_beside_a_fork_the_head_reads_the_branches_network(fork, keep_logits):
    model, frozen, branch = branched.trained_pair("erfnet", fork)
    forked = model_with_head(anomaly_branch={"fork": fork})
    forked.load_state_dict(model.state_dict(), strict=False)
    scored = model_with_head()
    scored.load_state_dict(branch.state_dict(), strict=False)
    scored.learned_head.load_state_dict(forked.learned_head.state_dict())
    for one in (forked, frozen, scored):
        one.keep_logits = keep_logits
    calls = []
    forked.backbone.encoder[0].register_forward_hook(lambda *_: calls.append(0))
    forked.learned_head.register_forward_hook(lambda *_: calls.append(1))
    found = predict(forked)
    # All copied: nothing is shared. The head runs once.
    assert sorted(calls) == [0, 1]
    with torch.no_grad():
        images = torch.randn(1, 3, 32, 48)
        assert torch.equal(forked(images, mode="tensor"), frozen(images, mode="tensor"))
    for sample, plain, other in zip(found, predict(frozen), predict(scored), strict=True):
        assert torch.equal(sample.pred_sem_seg.data, plain.pred_sem_seg.data)
        torch.testing.assert_close(sample.pred_anomaly.data, other.pred_anomaly.data)
        if keep_logits:
            assert torch.equal(sample.seg_logits.data, plain.seg_logits.data)
            assert torch.equal(sample.branch_sem_seg.data, other.pred_sem_seg.data)


def test_beside_a_fork_both_learn_and_the_frozen_part_does_not():
    changes = {"anomaly_branch": {"fork": FORKS[1]}, "distillation": {"weight": 1.0}}
    model = branched.build("erfnet", **{**METHOD, **changes})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    train(model, 2)
    changed = {k.split(".")[0] for k, v in model.state_dict().items() if not v.equal(before[k])}
    assert changed == {"learned_head", "anomaly_branch"}


class EncoderNorm(torch.nn.Module):
    needs, layers = "outputs", ("backbone.encoder.2",)

    def forward(self, outputs, network):
        return outputs.features["backbone.encoder.2"].norm(dim=1)


def test_scores_of_layers_inside_the_shared_part_of_a_fork():
    model, _, branch = branched.trained_pair("erfnet", ["decode_head.*"])
    model.energy_head.score = branch.energy_head.score = EncoderNorm()
    assert torch.equal(predict(model)[0].pred_anomaly.data, predict(branch)[0].pred_anomaly.data)


def test_windows_average_all_channels():
    window = {"mode": "slide", "crop_size": (32, 48), "stride": (16, 24)}
    model = model_with_head(test_cfg=window)
    plain = plain_of(model)
    plain.test_cfg = model.test_cfg
    for sample, other in zip(predict(model), predict(plain), strict=True):
        torch.testing.assert_close(sample.seg_logits.data, other.seg_logits.data)
        logits = sample.all_logits.data[None]
        assert logits.shape[1] == 7
        torch.testing.assert_close(sample.pred_anomaly.data, scores.likelihood_ratio(logits))


def test_augmentation_averages_all_channels():
    model = model_with_head()
    straight, flipped = tiny.batch(1), tiny.batch(1)
    flipped["inputs"] = [image.flip(2) for image in flipped["inputs"]]
    flipped["data_samples"][0].set_metainfo({"flip": True, "flip_direction": "horizontal"})
    singles = [predict(model, one)[0].all_logits.data for one in (straight, flipped)]
    data = {key: [straight[key], flipped[key]] for key in straight}
    merged = predict(OODTTAModel(module=model), data)[0]
    expected = scores.likelihood_ratio(((singles[0] + singles[1]) / 2)[None])
    torch.testing.assert_close(merged.pred_anomaly.data, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": ["backbone.encoder.44", *HEAD["layers"][1:]]}, r"encoder\.44.*encoder\.4\b"),
        ({"layers": ["backbone.encoder.2"]}, r"layers.*in_channels.*\[8, 16, 5\]"),
        ({"layers": [], "in_channels": []}, r"layers.*in_channels"),
        ({"layers": "backbone", "in_channels": [1] * 8}, r"layers.*'backbone'"),
    ],
)
def test_bad_layers_are_refused_when_the_model_is_built(changes, message):
    with pytest.raises(ValueError, match=message):
        branched.build("erfnet", learned_head={**HEAD, **changes})


def test_wrong_channels_and_layers_that_give_no_maps_are_refused():
    model = branched.build("erfnet", learned_head={**HEAD, "in_channels": [9, 16, 5]})
    with pytest.raises(ValueError, match=r"in_channels.*9.*'backbone\.encoder\.2'.*8"):
        predict(model)
    head = {**HEAD, "layers": ["learned_head.output"], "in_channels": [2]}
    with pytest.raises(ValueError, match=r"no layer 'learned_head\.output'"):
        branched.build("erfnet", learned_head=head)
    with pytest.raises(ValueError, match=r"\(2, 5, 7\).*maps"):
        LearnedHead(["tokens"], [5], 1)([torch.zeros(2, 5, 7)])


class Brightness(torch.nn.Module):
    """A head of one's own: one channel of one layer."""

    layers, out_channels = ("backbone.encoder.0",), 1

    def forward(self, maps):
        return maps[0].mean(dim=1, keepdim=True)


def test_any_module_of_that_form_can_be_the_head():
    MODELS.register_module(module=Brightness, force=True)
    model = branched.build("erfnet", learned_head={"type": "Brightness"})
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        assert model.small_logits(images).shape[1] == 6


def residual_pattern_model(**block):
    head = tiny.head_config(
        type="ResidualPatternHead",
        wraps="FCNHead",
        block={"channels": 8, "norm_cfg": {"type": "BN"}, "initial_output": "kaiming", **block},
    )
    return tiny.build(
        decode_head=head,
        freeze={"trained": ["decode_head.residual_block.*"]},
        closed_set_loss=False,
        energy_head={
            "type": "EnergyHead",
            "num_classes": 5,
            "score": {"type": "ResidualEnergy"},
            "losses": [{"type": "ResidualPatternLoss", "outlier_weight": 1.0}],
        },
    )


def test_a_residual_block_reads_several_layers():
    layers = {"layers": ["backbone.encoder.2", "backbone.encoder.4"], "in_channels": [8, 16]}
    model = residual_pattern_model(**layers)
    images = torch.randn(2, 3, 32, 48)
    found = {}
    for name in layers["layers"]:
        layer = model.get_submodule(name)
        layer.register_forward_hook(lambda _, __, out, name=name: found.update({name: out}))
    with torch.no_grad():
        logits = model.small_logits(images)
        head, block = model.decode_head, model.decode_head.residual_block
        features = model.backbone(images)[0]
        hidden = block.bot_aspp(block.aspp(block.fusion(list(found.values()))))
        residual = F.interpolate(block.output(hidden), features.shape[-2:], mode="bilinear")
        expected = torch.cat([head.conv_seg(features), head.conv_seg(features + residual)], dim=1)
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    model.train()
    data = model.data_preprocessor(tiny.batch(), True)
    model(**data, mode="loss")["anomaly.loss_residual_pattern"].backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    block = {name for name, _ in model.named_parameters() if "residual_block" in name}
    assert with_gradient == block - {"decode_head.residual_block.output.weight"}  # as released


@pytest.mark.parametrize("name", ["backbone.no", "decode_head.conv_seg"])
def test_a_residual_block_cannot_read_what_comes_later(name):
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        residual_pattern_model(layers=[name], in_channels=[5])  # which runs it once


def test_a_block_of_several_layers_is_no_copy_of_the_heads_pyramid():
    head = MODELS.build(
        ConfigDict(
            type="ResidualPatternHead",
            wraps="DeepWV3PlusHead",
            in_channels=(6, 16),
            channels=8,
            low_channels=4,
            num_classes=5,
            block={"layers": ["a"], "in_channels": [6], "channels": 4, "dilations": (2,)},
        )
    )
    weights = {k: v for k, v in head.state_dict().items() if "residual_block" not in k}
    missing, unexpected = head.load_state_dict(weights, strict=False)
    assert not unexpected
    assert "residual_block.aspp.img_conv.0.weight" in missing
