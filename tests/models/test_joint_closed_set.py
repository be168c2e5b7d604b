"""The cross entropy from the logsumexps of an outlier loss: mmseg's values, for less work."""

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.registry import init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode

import ood_seg.register  # noqa: F401
from ood_seg.models import training_losses

init_default_scope("mmseg")
MARGINS = {"margin_in": -5.0, "margin_out": 0.0, "loss_weight": 0.3}
ENERGY = {"type": "EnergyLoss", **MARGINS}
BALANCED = {"type": "BalancedEnergyLoss", "alpha": 2.0, "gamma": 1.0, "prior": [1, 2, 3, 4, 5]}
LOSSES = {
    "energy": [ENERGY],
    "balanced": [{**BALANCED, **MARGINS}],
    "exposure": [{"type": "OutlierExposureLoss", "loss_weight": 0.5}],
    "second": [{"type": "SparsityLoss", "loss_weight": 1e-3}, ENERGY],
    "of all pixels": [{**ENERGY, "reduction": "none"}],
}


def model_of(losses, *, loss_decode=None, **changes):
    decode = {"type": "CrossEntropyLoss", "avg_non_ignore": True, "loss_weight": 0.7}
    head = tiny.head_config(loss_decode={**decode, **(loss_decode or {})})
    energy_head = {"type": "EnergyHead", "losses": losses}
    return tiny.build(decode_head=head, energy_head=energy_head, **changes)


def losses_and_gradients(model, batch=None):
    data = model.data_preprocessor(batch or tiny.batch(), True)
    data["inputs"] = data["inputs"].double()  # so that gradients hardly differ by rounding
    model.double().zero_grad()
    losses = model(**data, mode="loss")
    model.parse_losses(losses)[0].backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    return losses, gradients


def assert_equal_to_apart(model, monkeypatch, batch=None):
    """Names, order, values and gradients are those of mmseg's loss beside the outlier losses."""
    joint, gradients = losses_and_gradients(model, batch)
    monkeypatch.setattr(training_losses, "is_joint", lambda *_: False)
    apart, expected = losses_and_gradients(model, batch)
    assert list(joint) == list(apart)
    for name, value in apart.items():
        assert joint[name].shape == value.shape, name
        torch.testing.assert_close(joint[name], value, msg=name)
    for name, value in expected.items():
        torch.testing.assert_close(gradients[name], value, rtol=1e-6, atol=1e-9, msg=name)


@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("avg_non_ignore", [True, False])
def test_values_and_gradients_are_those_of_mmseg(losses, avg_non_ignore, monkeypatch):
    model = model_of(losses, loss_decode={"avg_non_ignore": avg_non_ignore})
    assert_equal_to_apart(model, monkeypatch)


def test_of_the_classes_alone_beside_an_auxiliary_head(monkeypatch):
    head = tiny.head_config(6, loss_decode={"type": "CrossEntropyLoss", "avg_non_ignore": True})
    energy_head = {"type": "EnergyHead", "num_classes": 5, "losses": [ENERGY]}
    model = tiny.build(decode_head=head, energy_head=energy_head, auxiliary_head=tiny.head_config())
    assert_equal_to_apart(model, monkeypatch)


@pytest.mark.parametrize("label", [254, 255, 1])
def test_a_batch_of_one_label(label, monkeypatch):
    batch = tiny.batch()
    for sample in batch["data_samples"]:
        sample.gt_sem_seg.data.fill_(label)
    assert_equal_to_apart(model_of([ENERGY]), monkeypatch, batch)


class Operations(TorchDispatchMode):
    """Names of the operations that run."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))

    def count(self, name):
        return sum(name in each for each in self.names)


def operations_of(model):
    data = model.data_preprocessor(tiny.batch(), True)
    with Operations() as operations:
        model(**data, mode="loss")
    return operations


@pytest.mark.parametrize("losses", LOSSES.values(), ids=LOSSES)
def test_logits_are_resized_once_and_summed_once(losses):
    resized = operations_of(model_of([], closed_set_loss=False)).count("upsample_bilinear2d")
    operations = operations_of(model_of(losses))
    assert operations.count("upsample_bilinear2d") == resized
    assert operations.count("_log_softmax") == operations.count("topk") == 0
    if losses[0]["type"] in ("EnergyLoss", "OutlierExposureLoss"):
        # One block of pixels for each of the two images, for losses and the energies in the log.
        assert operations.count("aten.logsumexp") == 2


@pytest.mark.parametrize(
    "loss_decode",
    [
        {"type": "CrossEntropyLoss", "class_weight": [1.0, 2.0, 1.0, 1.0, 1.0]},
        {"type": "CrossEntropyLoss", "use_sigmoid": True},
        {"type": "DiceLoss"},
    ],
)
def test_other_closed_set_losses_are_those_of_mmseg(loss_decode):
    head = tiny.head_config(loss_decode=loss_decode)
    model = tiny.build(decode_head=head, energy_head={"type": "EnergyHead", "losses": [ENERGY]})
    assert not training_losses.is_joint(model.decode_head, torch.zeros(1))
    losses, _ = losses_and_gradients(model)
    assert sum(name.startswith("decode.loss") for name in losses) == 1


def test_losses_at_another_temperature_and_subclasses_are_computed_apart():
    from ood_seg.losses import EnergyLoss
    from ood_seg.models.joint_closed_set import sharing_loss

    class Own(EnergyLoss):
        pass

    options = {"margin_in": -5.0, "margin_out": 0.0}
    assert sharing_loss([EnergyLoss(temperature=2.0, **options), Own(**options)]) is None
    loss = EnergyLoss(**options)
    assert sharing_loss([Own(**options), loss]) is loss
