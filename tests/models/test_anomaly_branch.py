"""The anomaly branch: labels and logits untouched, shared modules run once, fork weights."""

import copy
from collections import Counter

import pytest
import torch

pytest.importorskip("mmseg")
import branched_models as branched
import tiny
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import ood_seg.register  # noqa: F401
from ood_seg.checkpoints import check_matches
from ood_seg.models.detector_scores import network_of
from ood_seg.models.tta import OODTTAModel

init_default_scope("mmseg")
DECODER = ["backbone.decoder.*", "decode_head.*"]
networks = pytest.mark.parametrize(("name", "fork"), branched.FORKS, ids=branched.IDS)


class FeatureNorm(torch.nn.Module):
    """A score of one activation before and one behind the fork."""

    needs, layers = "outputs", ("backbone.encoder.1", "penultimate")

    def forward(self, outputs, network):
        first, last = (outputs.features[name].norm(dim=1) for name in self.layers)
        return last + first.mean() + outputs.logits[:, 0].amax(dim=(-1, -2))[:, None, None]


def predict(model, data=None, count=2):
    with torch.no_grad():
        return model.test_step(copy.deepcopy(data or tiny.batch(count, size=(64, 96))))


def calls_of(model, run):
    """How often each module of the model without children is called by `run`."""
    counts = Counter()
    handles = [
        module.register_forward_hook(lambda *_, name=name: counts.update([name]))
        for name, module in model.named_modules()
    ]
    result = run()
    for handle in handles:
        handle.remove()
    return counts, result


@networks
def test_labels_and_logits_are_those_of_the_frozen_weights_and_scores_the_branches(name, fork):
    model, frozen, branch = branched.trained_pair(name, fork)
    for keep_logits in (True, False):
        for one in (model, frozen, branch):
            one.keep_logits = keep_logits
        for sample, plain, scored in zip(*map(predict, (model, frozen, branch)), strict=True):
            assert torch.equal(sample.pred_sem_seg.data, plain.pred_sem_seg.data)
            assert torch.equal(sample.pred_anomaly.data, scored.pred_anomaly.data)
            assert not torch.equal(sample.pred_anomaly.data, plain.pred_anomaly.data)
            if keep_logits:
                assert torch.equal(sample.seg_logits.data, plain.seg_logits.data)
                assert torch.equal(sample.branch_sem_seg.data, scored.pred_sem_seg.data)


@networks
def test_what_lies_before_the_fork_runs_once(name, fork):
    model, frozen, _ = branched.trained_pair(name, fork)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        alone, _ = calls_of(frozen, lambda: frozen.small_logits(images))
        counts, _ = calls_of(model, lambda: model.small_logits(images))
    executed = list(frozen.state_dict())
    first = min(
        index
        for index, key in enumerate(executed)
        if any(key.startswith(f"{copied}.") for copied in model.anomaly_branch.names)
    )
    before = {key.rpartition(".")[0] for key in executed[:first]}
    holders = {module for module in before if module in alone}
    assert {module: counts[module] for module in holders} == {m: alone[m] for m in holders}
    for copied in model.anomaly_branch.names:
        if copied in alone:
            assert counts[f"anomaly_branch.{copied}"] == alone[copied] == counts[copied]


def test_modules_behind_a_fork_in_the_middle_run_twice():
    model, *_ = branched.trained_pair("erfnet", ["backbone.encoder.2.*"])
    with torch.no_grad():
        counts, _ = calls_of(model, lambda: model.small_logits(torch.randn(1, 3, 64, 96)))
    assert counts["backbone.encoder.1"] == counts["backbone.encoder.2"] == 1
    assert counts["backbone.encoder.3"] == counts["backbone.decoder.0"] == 2
    assert counts["decode_head.conv_seg"] == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"test_cfg": {"mode": "slide", "crop_size": (32, 48), "stride": (16, 24)}},
        {"energy_head": {"type": "EnergyHead", "score": {"type": "Entropy"}}},
        {"energy_head": {"type": "EnergyHead", "smoothing": {"kernel_size": 5, "sigma": 1.0}}},
        {"energy_head": {"type": "EnergyHead", "score": {"type": "GeneralizedEntropy"}}},
        {"energy_head": {"type": "EnergyHead", "score": {"type": "MaxSoftmax"}}},
        {"energy_head": {"type": "EnergyHead", "score": {"type": "ODIN"}}},
    ],
    ids=["windows", "entropy", "smoothed", "gen", "max softmax", "odin"],
)
@pytest.mark.parametrize("keep_logits", [True, False])
def test_windows_and_scores(changes, keep_logits):
    model, _, branch = branched.trained_pair("erfnet", DECODER, **changes)
    frozen = branched.build("erfnet", **changes)
    frozen.load_state_dict(
        {k: v for k, v in model.state_dict().items() if k in branch.state_dict()}
    )
    for one in (model, frozen, branch):
        one.keep_logits = keep_logits
    for sample, plain, scored in zip(*map(predict, (model, frozen, branch)), strict=True):
        assert torch.equal(sample.pred_sem_seg.data, plain.pred_sem_seg.data)
        torch.testing.assert_close(
            sample.pred_anomaly.data, scored.pred_anomaly.data, rtol=1e-6, atol=1e-6
        )


def test_augmented_predictions_average_the_logits_of_both_networks():
    model, frozen, branch = branched.trained_pair("erfnet", DECODER)
    straight, flipped = tiny.batch(1), tiny.batch(1)
    flipped["inputs"] = [image.flip(2) for image in flipped["inputs"]]
    flipped["data_samples"][0].set_metainfo({"flip": True, "flip_direction": "horizontal"})
    data = {key: [straight[key], flipped[key]] for key in straight}
    merged = [predict(OODTTAModel(module=one), data)[0] for one in (model, frozen, branch)]
    assert torch.equal(merged[0].pred_sem_seg.data, merged[1].pred_sem_seg.data)
    assert torch.equal(merged[0].seg_logits.data, merged[1].seg_logits.data)
    assert torch.equal(merged[0].pred_anomaly.data, merged[2].pred_anomaly.data)


def test_detectors_see_the_branches_network_under_plain_names():
    model, _, branch = branched.trained_pair("erfnet", DECODER)
    network, plain = network_of(model), network_of(branch)
    assert network.fingerprint() == plain.fingerprint()
    images = torch.randn(1, 3, 64, 96)
    layers = ("backbone.encoder.2", "backbone.decoder.1", "backbone.decoder.3.bn1", "penultimate")
    layers = [name for name in layers if name == "penultimate" or name in network._layers]
    with torch.no_grad():
        found, expected = network(images, layers), plain(images, layers)
    assert torch.equal(found.logits, expected.logits)
    assert len(layers) >= 3
    for name in layers:
        assert torch.equal(found.features[name], expected.features[name])


def test_scores_of_activations_share_the_forward_pass():
    model, frozen, branch = branched.trained_pair("erfnet", DECODER)
    for one in (model, branch):
        one.energy_head.score = FeatureNorm()
    counts, samples = calls_of(model, lambda: predict(model, count=1))
    assert counts["backbone.encoder.0"] == counts["decode_head.conv_seg"] == 1
    assert counts["anomaly_branch.decode_head.conv_seg"] == 1
    assert torch.equal(samples[0].pred_sem_seg.data, predict(frozen, count=1)[0].pred_sem_seg.data)
    assert torch.equal(samples[0].pred_anomaly.data, predict(branch, count=1)[0].pred_anomaly.data)


def test_checkpoints_of_plain_and_forked_models():
    model, frozen, _ = branched.trained_pair("erfnet", DECODER)
    fresh = branched.build("erfnet", anomaly_branch={"fork": DECODER})
    check_matches(fresh, frozen.state_dict())
    fresh.load_state_dict(frozen.state_dict(), strict=True)
    for key, value in fresh.anomaly_branch.state_dict().items():
        assert torch.equal(value, frozen.state_dict()[key])
    check_matches(fresh, model.state_dict())
    fresh.load_state_dict(model.state_dict(), strict=True)
    assert all(torch.equal(v, fresh.state_dict()[k]) for k, v in model.state_dict().items())
    with pytest.raises(ValueError, match=r"unexpected.*anomaly_branch.*\^anomaly_branch"):
        check_matches(frozen, model.state_dict())
    check_matches(frozen, model.state_dict(), allowed=[r"^anomaly_branch\."])


def test_a_wider_classifier_is_filled_before_it_is_copied():
    wide = {"decode_head": tiny.head_config(6), "energy_head": {"type": "EnergyHead"}}
    wide["energy_head"]["num_classes"] = 5
    model = branched.build("erfnet", anomaly_branch={"fork": DECODER}, **wide)
    frozen = branched.build("erfnet")
    model.load_state_dict(frozen.state_dict(), strict=True)
    weights = model.state_dict()
    rows = weights["anomaly_branch.decode_head.conv_seg.weight"]
    assert torch.equal(rows[:5], frozen.state_dict()["decode_head.conv_seg.weight"])
    assert torch.equal(rows, weights["decode_head.conv_seg.weight"])
    assert torch.equal(predict(model)[0].pred_sem_seg.data, predict(frozen)[0].pred_sem_seg.data)


def test_a_checkpoint_of_another_fork_is_refused():
    model, *_ = branched.trained_pair("erfnet", DECODER)
    other = branched.build("erfnet", anomaly_branch={"fork": ["decode_head.*"]})
    with pytest.raises(ValueError, match=r"another fork.*backbone\.decoder"):
        check_matches(other, model.state_dict())
    with pytest.raises(ValueError, match=r"another fork.*missing.*backbone\.decoder"):
        model.load_state_dict(other.state_dict())


@pytest.mark.parametrize(
    ("fork", "named"),
    [
        (["decode_head.*", "backbone.decoder.9.*"], "backbone.decoder.9"),
        (["auxiliary_head.*"], "auxiliary_head"),
        ([], "fork"),
        (["backbone.encoder.2"], "backbone.encoder.2"),  # a module, not a parameter
    ],
)
def test_patterns_that_match_nothing_are_refused(fork, named):
    with pytest.raises(ValueError, match=named):
        tiny.build(anomaly_branch={"fork": fork})


@pytest.mark.parametrize("options", [{}, {"forks": ["decode_head.*"]}, {"fork": 3}, {"fork": [3]}])
def test_other_options_are_refused(options):
    with pytest.raises(ValueError, match="anomaly_branch expects fork"):
        tiny.build(anomaly_branch=options)


def test_a_fork_that_does_not_reach_the_logits_is_refused():
    unused = {"backbone": {**branched.NETWORKS["deeplabv3plus"]["backbone"], "out_indices": (0, 3)}}
    head = {**branched.HEAD, "in_channels": 8, "channels": 8, "in_index": 0}
    energy_head = {"type": "EnergyHead", "losses": [tiny.ENERGY_LOSS]}
    model = branched.build(
        "deeplabv3plus",
        anomaly_branch={"fork": ["backbone.layer4.*"]},
        **unused,
        decode_head=head,
        energy_head=energy_head,
    )
    data = model.data_preprocessor(tiny.batch(), True)
    with pytest.raises(ValueError, match=r"backbone\.layer4.*reaches"):
        model.train()(**data, mode="loss")


def test_a_distillation_without_a_teacher_is_refused():
    with pytest.raises(ValueError, match="checkpoint"):
        MODELS.build(tiny.model_config(distillation={"weight": 1.0}))
