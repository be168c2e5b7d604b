"""Batch norms folded into convolutions: the same output, and what must not be folded."""

import copy

import pytest
import torch
from torch import nn

pytest.importorskip("mmseg")
import tiny
from mmengine.registry import init_default_scope
from torch.utils._python_dispatch import TorchDispatchMode

import ood_seg.register  # noqa: F401
from ood_seg.models.folding import folded

init_default_scope("mmseg")


def call(network, inputs):
    return network(inputs)


def norms(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def randomised(network):
    """The network in evaluation mode, with statistics and affine maps far from the identity."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.2, 3)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network.eval()


class Plain(nn.Module):
    """Each norm behind its convolution: with and without bias, grouped, strided, transposed."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8, eps=1e-3))
        self.grouped = nn.Conv2d(8, 8, 3, groups=4, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 6, 3, stride=2, output_padding=1)
        self.up_norm = nn.BatchNorm2d(6)

    def forward(self, x):
        x = self.norm(self.grouped(self.first(x).relu())).relu()
        return self.up_norm(self.up(x))


class ReadTwice(nn.Module):
    """The output of the convolution goes around the norm as well."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) + x


class ReadUnseen(ReadTwice):
    """The output of the convolution has a second reader that cannot be observed."""

    def forward(self, x):
        x = self.conv(x)
        with torch._C.DisableTorchFunction():
            beside = x + 1
        return self.norm(x) * beside


class CalledTwice(ReadTwice):
    """One convolution, one norm, two calls of the convolution."""

    def forward(self, x):
        return self.norm(self.conv(x)) + self.conv(x + 1)


class Joined(nn.Module):
    """The norm of a concatenation, and a grouped transposed convolution."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(7)
        self.up, self.up_norm = nn.ConvTranspose2d(7, 14, 2, groups=7), nn.BatchNorm2d(14)

    def forward(self, x):
        return self.up_norm(self.up(self.norm(torch.cat([self.conv(x), x], 1))))


@pytest.mark.parametrize("channels_last", [False, True])
def test_folded_norms_give_the_same_output(channels_last):
    network, inputs = randomised(Plain()), torch.randn(2, 3, 17, 19)
    before = copy.deepcopy(network.state_dict())
    result = folded(network, call, inputs[:1])
    assert norms(result) == 0
    assert norms(network) == 3
    if channels_last:
        result.to(memory_format=torch.channels_last)
    with torch.no_grad():
        torch.testing.assert_close(result(inputs), network(inputs), rtol=1e-5, atol=1e-5)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in result.get_submodule("up").parameters())


@pytest.mark.parametrize("kind", [ReadTwice, CalledTwice, Joined])
def test_norms_that_are_not_the_only_reader_stay(kind):
    network, inputs = randomised(kind()), torch.randn(1, 3, 9, 9)
    result = folded(network, call, inputs)
    assert norms(result) == norms(network)
    with torch.no_grad():
        assert torch.equal(result(inputs), network(inputs))


def test_a_copy_with_another_output_is_not_used():
    network, inputs = randomised(ReadUnseen()), torch.randn(1, 3, 9, 9)
    assert folded(network, call, inputs) is network


def test_norms_in_training_mode_stay():
    network = randomised(Plain())
    network.norm.train()
    result = folded(network, call, torch.randn(2, 3, 17, 19))
    assert norms(result) == 1


class Counted(TorchDispatchMode):
    """Counts the batch norms that are computed."""

    norms = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.norms += "batch_norm" in str(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_teacher_computes_only_norms_that_follow_no_convolution(tmp_path, channels_last):
    pretrained = tiny.build(seed=1)
    checkpoint = str(tmp_path / "weights.pth")
    torch.save({"state_dict": pretrained.state_dict()}, checkpoint)
    model = tiny.build(distillation={"checkpoint": checkpoint, "channels_last": channels_last})
    (teacher,) = model._teacher
    inputs = torch.randn(2, 3, 32, 48)
    teacher.logits(inputs)
    with Counted() as counted:
        logits = teacher.logits(inputs)
    joined = [m for n, m in pretrained.named_modules() if n.endswith("bn") and "encoder" in n]
    assert counted.norms == len(joined) == 3 < norms(pretrained)
    with torch.no_grad():
        expected = pretrained(inputs, mode="tensor")
    assert logits.is_contiguous()
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-4)
    assert list(model.state_dict()) == list(pretrained.state_dict())
