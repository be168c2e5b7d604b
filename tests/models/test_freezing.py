"""Freezing of parameters by name pattern, of statistics and of dropout."""

import copy

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.optim import OptimWrapper
from mmengine.registry import init_default_scope

import ood_seg.register  # noqa: F401
from ood_seg.models import freeze_parameters, train_only

init_default_scope("mmseg")
HEAD = {"type": "EnergyHead", "losses": [tiny.ENERGY_LOSS]}


def train_step(model):
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model.train()
    model.train_step(tiny.batch(), OptimWrapper(optimizer))
    after = model.state_dict()
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_frozen_parameters_are_fixed_and_the_others_change():
    changed = train_step(tiny.build(energy_head=HEAD, freeze={"frozen": ["backbone.*"]}))
    assert changed == {"decode_head.conv_seg.weight", "decode_head.conv_seg.bias"}


def test_only_trained_parameters_change():
    changed = train_step(tiny.build(energy_head=HEAD, freeze={"trained": ["*.conv_seg.bias"]}))
    assert changed == {"decode_head.conv_seg.bias"}


def test_statistics_are_fixed_by_default_and_updated_on_request():
    changed = train_step(tiny.build(energy_head=HEAD, freeze={}))
    assert changed
    assert not any("running" in name for name in changed)
    released = {"trained": ["decode_head.*"], "norm_statistics": "updated", "dropout": "on"}
    changed = train_step(tiny.build(energy_head=HEAD, freeze=released))
    assert any("running_mean" in name for name in changed)


def test_dropout_is_off_by_default():
    def modes(model):
        model.train()
        return {
            layer.training
            for layer in model.modules()
            if isinstance(layer, (torch.nn.Dropout, torch.nn.Dropout2d))
        }

    assert modes(tiny.build(freeze={})) == {False}
    assert modes(tiny.build(freeze={"dropout": "on"})) == {True}
    assert modes(tiny.build()) == {True}


def test_evaluation_mode_passes_through():
    model = tiny.build(freeze={}).train().eval()
    assert not any(layer.training for layer in model.modules())


def test_a_pattern_that_matches_nothing_is_an_error():
    for function in (freeze_parameters, train_only):
        with pytest.raises(ValueError, match=r"'encoder\.\*'.*backbone"):
            function(tiny.build(), ["backbone.*", "encoder.*"])
    with pytest.raises(TypeError, match="list of strings"):
        freeze_parameters(tiny.build(), "backbone.*")


def test_bad_options_are_refused():
    with pytest.raises(ValueError, match="either frozen or trained"):
        tiny.build(freeze={"frozen": ["*"], "trained": ["*"]})
    with pytest.raises(ValueError, match="norm_statistics"):
        tiny.build(freeze={"norm_statistics": "frozen"})
