"""Training of the anomaly branch: the frozen part, the losses, the teacher, freezing inside it."""

import copy
import gc

import pytest
import torch

pytest.importorskip("mmseg")
import branched_models as branched
import tiny
from mmengine.registry import init_default_scope
from test_anomaly_branch import DECODER, calls_of

import ood_seg.register  # noqa: F401
from ood_seg.losses import distillation_loss

init_default_scope("mmseg")
BALANCED = {
    "type": "BalancedEnergyLoss",
    "margin_in": -6.0,
    "margin_out": 0.0,
    "alpha": 2.0,
    "gamma": 1.0,
    "prior": [0.1, 0.2, 0.3, 0.2, 0.2],
}
ABSTENTION = {
    "decode_head": tiny.head_config(6),
    "closed_set_loss": False,
    "energy_head": {
        "type": "EnergyHead",
        "num_classes": 5,
        "losses": [{"type": "AbstentionLoss", "outlier_weight": 0.05}, tiny.ENERGY_LOSS],
    },
}
METHODS = {
    "energy": {"energy_head": {"type": "EnergyHead", "losses": [tiny.ENERGY_LOSS]}},
    "balanced": {"energy_head": {"type": "EnergyHead", "losses": [BALANCED]}},
    "outlier exposure": {
        "energy_head": {"type": "EnergyHead", "losses": [{"type": "OutlierExposureLoss"}]}
    },
    "joint": {
        "closed_set_loss": False,
        "energy_head": {
            "type": "EnergyHead",
            "losses": [
                {
                    "type": "CrossEntropyEnergyLoss",
                    "margin_in": -5.0,
                    "margin_out": 0.0,
                    "energy_weight": 0.1,
                },
            ],
        },
    },
    "abstention": ABSTENTION,
}
FIXED = {"freeze": {"norm_statistics": "fixed", "dropout": "off"}}


def batch_of(model):
    return model.data_preprocessor(copy.deepcopy(tiny.batch()), True)


def losses_of(model):
    return model.train()(**batch_of(model), mode="loss")


def step(model, rounds=3):
    """A few iterations of an optimizer with weight decay over all parameters."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    for _ in range(rounds):
        total, _ = model.parse_losses(losses_of(model))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()


@pytest.mark.parametrize("method", METHODS)
def test_losses_are_those_of_the_branches_network_unchanged(method):
    model, _, branch = branched.trained_pair("erfnet", DECODER, **METHODS[method], **FIXED)
    found, expected = losses_of(model), losses_of(branch)
    assert found.keys() == expected.keys()
    assert ("decode.loss_ce" in found) == (method not in ("abstention", "joint"))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)
    total, _ = model.parse_losses(found)
    total.backward()
    gradients = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    assert {name.split(".")[0] for name in gradients} == {"anomaly_branch"}
    total, _ = branch.parse_losses(expected)
    total.backward()
    for name, parameter in branch.named_parameters():
        if name.startswith(("backbone.decoder", "decode_head")):
            torch.testing.assert_close(gradients[f"anomaly_branch.{name}"], parameter.grad)


@pytest.mark.parametrize(
    ("name", "fork"),
    [
        ("erfnet", DECODER),
        ("erfnet", ["backbone.encoder.2.*"]),
        ("cgnet", ["backbone.level2.*", "backbone.norm_prelu_2.*", "decode_head.*"]),
        ("deepwv3plus", ["decode_head.final.*"]),
        ("deeplabv3plus", ["backbone.layer4.*", "decode_head.*"]),
        ("segformer", ["decode_head.*"]),
    ],
)
def test_labels_and_logits_stay_through_training_with_free_statistics(name, fork):
    frozen = branched.build(name)
    model = branched.build(
        name, anomaly_branch={"fork": fork}, **METHODS["energy"], distillation={"weight": 1.0}
    )
    model.load_state_dict(frozen.state_dict(), strict=True)
    images = torch.randn(1, 3, 64, 96)
    before = copy.deepcopy(model.anomaly_branch.state_dict())
    step(model)
    model.eval()
    after = model.state_dict()
    for key, value in frozen.state_dict().items():
        assert torch.equal(after[key], value), key
    changed = [
        k for k, v in model.anomaly_branch.state_dict().items() if not torch.equal(v, before[k])
    ]
    assert any(key.endswith("running_mean") for key in changed)
    assert any(key.endswith("weight") for key in changed)
    with torch.no_grad():
        both = model.small_logits(images)
        assert torch.equal(both[:, :5], frozen.small_logits(images))
        assert not torch.equal(both[:, 5:], both[:, :5])


def test_the_frozen_part_is_the_teacher_at_the_cost_of_what_follows_the_fork():
    changes = METHODS["energy"] | FIXED
    model, frozen, branch = branched.trained_pair("erfnet", DECODER, **changes)
    distilled = branched.build(
        "erfnet",
        anomaly_branch={"fork": DECODER},
        distillation={"weight": 2.0, "temperature": 1.5},
        **changes,
    )
    distilled.load_state_dict(model.state_dict())
    counts, losses = calls_of(distilled, lambda: losses_of(distilled))
    assert counts["backbone.encoder.0"] == counts["backbone.encoder.4"] == 1
    assert counts["backbone.decoder.0"] == counts["anomaly_branch.backbone.decoder.0"] == 1
    data = batch_of(model)
    labels = torch.stack([s.gt_sem_seg.data[0] for s in data["data_samples"]])
    with torch.no_grad():
        teacher, student = (one.eval().small_logits(data["inputs"]) for one in (frozen, branch))
    small = torch.nn.functional.interpolate(labels[:, None].float(), teacher.shape[-2:])[:, 0]
    expected = 2.0 * distillation_loss(student, teacher, small.long(), temperature=1.5)
    torch.testing.assert_close(losses["loss_distillation"], expected)
    counts, plain = calls_of(model, lambda: losses_of(model))
    assert counts["backbone.encoder.0"] == 1
    assert counts["backbone.decoder.0"] == 0  # nobody needs the frozen logits
    assert "loss_distillation" not in plain


def test_freeze_applies_inside_the_fork():
    changes = METHODS["energy"] | {"freeze": {"trained": ["decode_head.*"]}}
    model = branched.build("erfnet", anomaly_branch={"fork": DECODER}, **changes)
    model.train()
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert trained == [
        "anomaly_branch.decode_head.conv_seg.weight",
        "anomaly_branch.decode_head.conv_seg.bias",
    ]
    before = copy.deepcopy(model.state_dict())
    step(model)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == set(trained)
    with pytest.raises(ValueError, match=r"backbone\.encoder.*begin with backbone\.decoder"):
        branched.build(
            "erfnet",
            anomaly_branch={"fork": DECODER},
            freeze={"frozen": ["backbone.encoder.*"]},
        )


def test_a_fork_frozen_whole_is_refused():
    model = branched.build(
        "erfnet",
        anomaly_branch={"fork": DECODER},
        freeze={"frozen": ["*"]},
        **METHODS["energy"],
    )
    with pytest.raises(ValueError, match=r"decode_head.*reaches"):
        losses_of(model)


def test_no_tensor_of_a_step_stays_until_a_garbage_collection():
    model = branched.build(
        "erfnet", anomaly_branch={"fork": DECODER}, **METHODS["energy"], distillation={}
    )
    model.train()
    batch = batch_of(model)

    def tensors_after_a_step() -> int:
        sum(value.sum() for value in model.loss(**batch).values()).backward()
        return sum(isinstance(one, torch.Tensor) for one in gc.get_objects())

    tensors_after_a_step()  # which makes the gradients
    gc.collect()
    gc.disable()
    try:
        assert tensors_after_a_step() == tensors_after_a_step()
    finally:
        gc.enable()
