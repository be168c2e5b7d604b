"""The graph in torch equals the config's own test pipeline and model."""

import exported_tiny as tiny_export
import numpy as np
import pytest
import tiny
import torch
from mmseg.models.backbones.swin import ShiftWindowMSA
from mmseg.models.utils import Upsample
from mmseg.registry import MODELS
from torch import nn

from ood_seg import scores
from ood_seg.apis.inferencer import AnomalyInferencer
from ood_seg.calibration.curves import IsotonicCurve, LogisticCurve
from ood_seg.detectors import StandardizedMaxLogit, Statistics, StatisticsFile
from ood_seg.export import check
from ood_seg.export.exporting import Options, export_onnx, inference_graph
from ood_seg.export.graph import labels_and_energy, probability
from ood_seg.export.layers import (
    EnlargedByFactor,
    PReLUByConvolution,
    joined_windows,
    with_exportable_layers,
)

RULES = {
    "fixed": None,
    "own": {},
    "keep_ratio": {"scale": (64, 48), "keep_ratio": True},
}


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_labels_and_energy_equal_the_definition(temperature):
    logits = 6 * torch.randn(2, 7, 5, 6, generator=torch.Generator().manual_seed(0))
    logits[:, :, 0] = logits[:, :, 0].round()  # ties
    logits[0, :, 1, 1] = 3.0
    labels, energy = labels_and_energy(logits, temperature)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels.long(), logits.argmax(dim=1))
    torch.testing.assert_close(energy, scores.energy(logits, temperature))


def test_energy_is_finite_where_exponentials_overflow():
    logits = torch.tensor([500.0, 499.0, -500.0]).view(1, 3, 1, 1)
    expected = -(500 + np.log1p(np.exp(-1)))
    assert labels_and_energy(logits, 1.0)[1].item() == pytest.approx(expected)


@pytest.mark.parametrize("knots", [1, 2, 3, 4, 7, 8, 100])
def test_isotonic_probability_equals_the_curve(knots):
    rng = np.random.default_rng(knots)
    curve = IsotonicCurve(
        tuple(np.sort(rng.normal(size=knots)).tolist()), tuple(np.sort(rng.random(knots)).tolist())
    )
    grid = torch.linspace(-4, 4, 901).view(1, 17, 53)
    exact = torch.tensor(curve.scores).float().expand(1, 1, -1)
    for values in (grid, exact):
        torch.testing.assert_close(probability(values, curve), curve(values), rtol=0, atol=0)


def test_logistic_probability_equals_the_curve():
    grid, curve = torch.linspace(-9, 9, 64).view(1, 8, 8), LogisticCurve(1.5, -0.25)
    assert torch.equal(probability(grid, curve), curve(grid))


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [(48, 64), (37, 101), (150, 83)])
def test_graph_equals_the_test_pipeline(tmp_path, rule, size):
    cfg = tiny_export.config(RULES[rule])
    inferencer = AnomalyInferencer(cfg, tiny_export.checkpoint(tmp_path), "cpu")
    agree(inferencer, cfg, Options(), size)


@pytest.mark.parametrize(
    "head",
    [
        {"score": {"type": "MaxSoftmax"}},
        {"score": {"type": "Energy", "temperature": 2.0}, "smoothing": {"kernel_size": 5}},
        {"score": {"type": "MaxLogit"}, "num_classes": 4},
    ],
)
def test_scores_smoothing_and_extra_channels(tmp_path, head):
    cfg = tiny_export.config(energy_head={"type": "EnergyHead", **head})
    inferencer = AnomalyInferencer(cfg, tiny_export.checkpoint(tmp_path), "cpu")
    agree(inferencer, cfg, Options(), (37, 101))


@pytest.mark.parametrize("layout", ["nhwc", "nchw"])
@pytest.mark.parametrize("colour", ["bgr", "rgb"])
@pytest.mark.parametrize("resize", [None, {}])
def test_layouts_and_colours(tmp_path, layout, colour, resize):
    cfg = tiny_export.config(resize)
    inferencer = AnomalyInferencer(cfg, tiny_export.checkpoint(tmp_path), "cpu")
    agree(inferencer, cfg, Options(layout=layout, colour=colour, input_type="float32"), (45, 33))


def agree(inferencer, cfg, options, size):
    graph = check.torch_predictor(inference_graph(inferencer, cfg, options))
    images = np.stack([tiny_export.made_up_image(*size, seed) for seed in (0, 1)])
    found = check.compare(graph, check.pipeline_predictor(inferencer), images)
    assert found.holds, str(found)
    assert found.shape == (2, *size)
    assert found.score < 1e-5


def test_check_detects_differences():
    images = check.synthetic_images((1, 20, 30))
    labels = np.zeros((1, 20, 30), np.uint8)
    good = {"labels": labels, "score": np.full(labels.shape, 2.0, np.float32)}
    moved = {**good, "score": good["score"] + np.float32(1e-3)}
    swapped = {**good, "labels": np.where(np.arange(600).reshape(labels.shape) < 1, 1, labels)}
    broken = {**good, "score": np.where(labels == 0, np.nan, good["score"])}
    assert check.compare(lambda _: good, lambda _: good, images).holds
    for other in (moved, swapped, broken):
        assert not check.compare(lambda _, other=other: other, lambda _: good, images).holds


def test_differences_near_a_flipped_label_are_counted_separately():
    images = check.synthetic_images((1, 40, 60))
    labels = np.zeros((1, 40, 60), np.uint8)
    score = np.full(labels.shape, 2.0, np.float32)
    flipped = labels.copy()
    flipped[0, 20, 30] = 1
    near, far = score.copy(), score.copy()
    near[0, 18:23, 28:33] += 0.5
    far[0, 20, 33] += 0.5

    def compared(labels, other, reach):
        one, two = {"labels": flipped, "score": other}, {"labels": labels, "score": score}
        return check.compare(lambda _: one, lambda _: two, images, label_reach=reach)

    found = compared(labels, near, 2)
    assert (found.score, found.jump_share) == (0.0, 25 / 2400)
    assert compared(flipped, near, 2).score == pytest.approx(0.25)  # no label differs
    assert compared(labels, near, 1).score == pytest.approx(0.25)
    assert compared(labels, far, 2).score == pytest.approx(0.25)
    assert compared(labels, near, None).score == pytest.approx(0.25)
    assert compared(labels, far, 3).jump_share == 1 / 2400
    wide = compared(labels, score + np.float32(0.5), 9)
    assert wide.jump_share == pytest.approx(19 * 19 / 2400)
    assert not wide.holds


@pytest.mark.parametrize("steps", [(True, True), (True, False), (False, True), (False, False)])
def test_label_reach_bounds_the_effect_of_a_flipped_label(steps):
    statistics = StatisticsFile(
        {"sml": Statistics("sml", {"mean": torch.tensor([4.0, 2.0]), "std": torch.ones(2)})}
    )
    score = StandardizedMaxLogit(statistics, *steps)
    coarse = torch.randn(1, 2, 9, 9, generator=torch.Generator().manual_seed(3))
    logits = coarse.repeat_interleave(10, 2).repeat_interleave(10, 3)  # patches of 10x10 pixels
    farthest = 0
    for row, column in ((45, 44), (50, 40), (41, 49)):
        moved = logits.clone()
        moved[0, :, row, column] = moved[0, :, row, column].flip(0)
        rows, columns = ((score(moved) - score(logits)).abs()[0] > 1e-6).nonzero().T
        distance = torch.maximum((rows - row).abs(), (columns - column).abs())
        farthest = max([farthest, *distance.tolist()])
    assert score.label_reach / 2 <= farthest <= score.label_reach


def test_prelu_by_convolution_is_prelu():
    layer = nn.PReLU(6)
    layer.weight.data = torch.tensor([0.25, -0.5, 0.0, 1.0, 2.0, 0.1])
    maps = torch.randn(2, 6, 5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(PReLUByConvolution(layer)(maps), layer(maps))
    model = nn.Sequential(nn.Conv2d(3, 6, 1), layer, nn.PReLU())
    changed = with_exportable_layers(model)
    assert isinstance(changed[1], PReLUByConvolution)
    assert isinstance(changed[2], nn.PReLU)
    assert model[1] is layer


@pytest.mark.parametrize(("mode", "align"), [("bilinear", False), ("nearest", None)])
def test_enlarged_maps_are_those_of_mmseg(mode, align):
    layer = Upsample(scale_factor=2, mode=mode, align_corners=align)
    maps = torch.randn(1, 3, 5, 7)
    model = with_exportable_layers(nn.Sequential(layer))
    assert isinstance(model[0], EnlargedByFactor)
    torch.testing.assert_close(model(maps), layer(maps))
    for kept in (Upsample(scale_factor=1.5), Upsample(size=(3, 4)), Upsample(scale_factor=(2, 1))):
        assert with_exportable_layers(nn.Sequential(kept))[0].size == kept.size


def test_unet_is_exported_for_images_of_any_size(tmp_path):
    """Its decoder enlarges maps, and it takes multiples of 4 only, for which images are padded."""
    backbone = {
        "type": "UNet",
        "base_channels": 4,
        "num_stages": 3,
        "strides": (1, 1, 1),
        "enc_num_convs": (1,) * 3,
        "dec_num_convs": (1, 1),
        "downsamples": (True, True),
        "enc_dilations": (1,) * 3,
        "dec_dilations": (1, 1),
    }
    cfg = tiny_export.config(resize={})
    cfg.model.backbone = backbone
    cfg.model.decode_head.update(in_channels=4, channels=4, in_index=-1)
    cfg.model.data_preprocessor.test_cfg = None
    torch.save({"state_dict": MODELS.build(cfg.model).state_dict()}, tmp_path / "unet.pth")
    export = export_onnx(cfg, tmp_path / "unet.pth", tmp_path / "unet.onnx")
    assert all(agreement.holds for agreement in [*export.graph, *export.pipeline])


def test_joined_windows_are_those_of_swin():
    attention = ShiftWindowMSA(embed_dims=4, num_heads=2, window_size=7, shift_size=3)
    maps = torch.randn(2, 14, 21, 5, generator=torch.Generator().manual_seed(0))
    windows = attention.window_partition(maps)
    assert torch.equal(joined_windows(7, windows, 14, 21), maps)
    assert torch.equal(attention.window_reverse(windows, 14, 21), maps)
    changed = with_exportable_layers(nn.Sequential(attention))
    tokens, size = maps[..., :4].flatten(1, 2), (14, 21)
    assert torch.equal(changed[0](tokens, size), attention(tokens, size))
    assert changed[0].window_reverse.func is joined_windows


def test_slow_layers_are_replaced_in_a_copy(tmp_path):
    model = tiny.build()
    assert with_exportable_layers(model) is not model
