"""DenseHybrid's head: the second classifier as published, predictions of the classes alone."""

import copy

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import ood_seg.register  # noqa: F401
from ood_seg import scores

init_default_scope("mmseg")
HEAD = {
    "in_channels": (6, 16),
    "channels": 8,
    "low_channels": 4,
    "dilations": (2, 3),
    "num_classes": 5,
}


def build_head(kind="DenseHybridHead", seed=0):
    torch.manual_seed(seed)
    head = MODELS.build({"type": kind, **HEAD})
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for layer in head.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(layer.running_mean)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2.0)
    return head.eval()


def features():
    generator = torch.Generator().manual_seed(1)
    sizes = [(2, 6, 11, 13), (2, 16, 3, 4)]
    return [torch.randn(*size, generator=generator) for size in sizes]


def test_first_channels_are_those_of_the_plain_head():
    head, plain, inputs = build_head(), build_head("DeepWV3PlusHead"), features()
    problems = plain.load_state_dict(head.state_dict(), strict=False)
    assert not problems.missing_keys
    assert {key.split(".")[0] for key in problems.unexpected_keys} == {"logits_ood"}
    logits = head(inputs)
    assert logits.shape == (2, 7, 11, 13)
    assert torch.equal(logits[:, :5], plain(inputs))


def test_last_channels_are_norm_relu_and_convolution_by_hand():
    head, inputs = build_head(), features()
    fused = head.fuse(inputs).detach().double().numpy()
    state = {k: v.double().numpy() for k, v in head.state_dict().items() if "logits_ood" in k}
    norm, conv = "logits_ood.norm.", "logits_ood.conv."
    for n, y, x in [(0, 0, 0), (1, 7, 12)]:
        f = fused[n, :, y, x] - state[norm + "running_mean"]
        f = f / np.sqrt(state[norm + "running_var"] + 1e-5)
        f = np.maximum(f * state[norm + "weight"] + state[norm + "bias"], 0)
        expected = state[conv + "weight"][:, :, 0, 0] @ f + state[conv + "bias"]
        found = head(inputs)[n, 5:, y, x].detach()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_training_starts_in_any_mode_without_changing_the_features():
    head = build_head()
    inputs = [f.requires_grad_() for f in features()]
    head(inputs).sum().backward()  # an in-place activation on shared features would fail here
    assert inputs[1].grad.abs().sum() > 0


class TwoMaps(torch.nn.Module):
    """A backbone of two convolutions, low and high."""

    def __init__(self):
        super().__init__()
        self.low = torch.nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.high = torch.nn.Conv2d(6, 16, 3, stride=4, padding=1)

    def forward(self, images):
        low = self.low(images)
        return [low, self.high(low)]


def test_segmentor_scores_all_channels_and_predicts_classes():
    MODELS.register_module(module=TwoMaps, force=True)
    model = MODELS.build(
        ConfigDict(
            tiny.model_config(
                backbone={"type": "TwoMaps"},
                decode_head={"type": "DenseHybridHead", **HEAD},
                energy_head={
                    "type": "EnergyHead",
                    "num_classes": 5,
                    "score": {"type": "DenseHybrid"},
                },
            )
        )
    ).eval()
    data = tiny.batch(1, outliers=False)
    with torch.no_grad():
        (sample,) = model.test_step(copy.deepcopy(data))
    inputs = model.data_preprocessor(data, False)["inputs"]
    logits = torch.nn.functional.interpolate(
        model(inputs, mode="tensor").detach(), (32, 48), mode="bilinear", align_corners=True
    )
    assert torch.equal(sample.pred_sem_seg.data[0], logits[0, :5].argmax(0))
    torch.testing.assert_close(sample.pred_anomaly.data, scores.dense_hybrid(logits))
