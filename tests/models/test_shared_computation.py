"""What a network and its counterpart with copied parts compute once, and what is kept for it."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from ood_seg.models.shared_computation import run_both, with_copies


class Block(nn.Module):
    """Makes a tensor between its layers that nobody else needs."""

    def __init__(self, made):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.made = made

    def forward(self, maps):
        between = torch.relu(self.conv(maps))
        self.made.append(weakref.ref(between))
        return torch.sigmoid(between)


class Listed(nn.Module):
    """A network that iterates over its blocks, as ERFNet and CGNet do."""

    def __init__(self, made):
        super().__init__()
        self.stem = nn.Conv2d(3, 2, 1)
        self.blocks = nn.ModuleList([Block(made), Block(made)])

    def forward(self, images):
        maps = self.stem(images)
        for block in self.blocks:
            maps = block(maps)
        return maps


@pytest.mark.parametrize("names", [("blocks",), ("blocks.0", "blocks.1"), ("blocks.1",)])
def test_nothing_behind_a_copied_list_is_kept(names):
    made = []
    network = Listed(made).eval()
    copies = {}
    for name in names:
        part = copies[name] = copy.deepcopy(network.get_submodule(name))
        for module in part.modules():
            if isinstance(module, Block):
                module.made = made
        with torch.no_grad():
            for parameter in part.parameters():
                parameter.add_(1.0)
    images = torch.randn(1, 3, 4, 5)
    kept, calls = [], []
    network.stem.register_forward_hook(lambda *_: calls.append(1))

    def second(counterpart):
        gc.collect()
        kept.extend(reference() is not None for reference in made)
        return counterpart(images)

    with torch.no_grad():
        frozen, trained = run_both(network, copies, lambda one: one(images), second)
        assert len(calls) == 1
        torch.testing.assert_close(frozen, network(images), rtol=0, atol=0)
        expected = with_copies(network, copies)(images)
    torch.testing.assert_close(trained, expected, rtol=0, atol=0)
    assert not torch.equal(frozen, trained)
    assert kept == [False, False]
