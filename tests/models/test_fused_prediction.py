"""Predictions without full-size logits equal mmseg's with them."""

import copy

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from torch import nn

import ood_seg.register  # noqa: F401
from ood_seg.models import OODTTAModel

init_default_scope("mmseg")
SCORES = [
    {"type": "Energy"},
    {"type": "Energy", "temperature": 2.0},
    {"type": "MaxSoftmax"},
    {"type": "MaxLogit"},
    {"type": "Entropy"},
]


@MODELS.register_module()
class MeanLogitForTest(nn.Module):
    """A score that nobody has made fast."""

    def forward(self, logits):
        return -logits.mean(dim=1)


@MODELS.register_module()
class LastChannelForTest(nn.Module):
    """A score that reads a channel beyond the classes."""

    channels = "all"

    def forward(self, logits):
        return logits[:, -1]


def predict(model, data, keep_logits):
    model.keep_logits = keep_logits
    with torch.no_grad():
        return model.test_step(copy.deepcopy(data))


def assert_same(model, data):
    """Fused and whole predictions agree; returns the fused samples."""
    fused, whole = (predict(model, data, keep) for keep in (False, True))
    for ours, expected in zip(fused, whole, strict=True):
        assert "seg_logits" not in ours
        assert "seg_logits" in expected
        assert torch.equal(ours.pred_sem_seg.data.long(), expected.pred_sem_seg.data)
        assert ours.pred_sem_seg.data.dtype == torch.uint8
        torch.testing.assert_close(
            ours.pred_anomaly.data, expected.pred_anomaly.data, rtol=1e-5, atol=1e-5
        )
    return fused


@pytest.mark.parametrize("score", [*SCORES, {"type": "MeanLogitForTest"}])
@pytest.mark.parametrize("align_corners", [False, True])
def test_labels_and_scores_are_those_of_the_whole_logits(score, align_corners):
    head = {"type": "EnergyHead", "score": score}
    model = tiny.build(energy_head=head, decode_head=tiny.head_config(align_corners=align_corners))
    samples = assert_same(model, tiny.batch(2, outliers=False))
    assert samples[0].pred_anomaly.data.shape == (1, 32, 48)
    assert len(samples[0].pred_sem_seg.data.unique()) > 1


@pytest.mark.parametrize("original", [(30, 45), (61, 97), (20, 33)])
def test_padding_is_cut_and_the_image_size_reached(original):
    data = tiny.batch(1, size=(30, 45), outliers=False)  # not divisible by 8: padded
    data["data_samples"][0].set_metainfo({"ori_shape": original})
    (sample,) = assert_same(tiny.build(), data)
    assert sample.pred_anomaly.data.shape == (1, *original)


def test_images_of_a_batch_keep_their_own_sizes():
    data = tiny.batch(2, outliers=False)
    data["data_samples"][1].set_metainfo({"ori_shape": (61, 97)})
    samples = assert_same(tiny.build(), data)
    assert [s.pred_anomaly.data.shape[1:] for s in samples] == [(32, 48), (61, 97)]


def test_smoothing_is_the_last_step():
    head = {"type": "EnergyHead", "smoothing": {"kernel_size": 5, "sigma": 1.0}}
    data = tiny.batch(1, outliers=False)
    (smooth,) = assert_same(tiny.build(energy_head=head), data)
    (raw,) = predict(tiny.build(), data, False)
    assert not torch.allclose(smooth.pred_anomaly.data, raw.pred_anomaly.data)


@pytest.mark.parametrize("score", ["Energy", "LastChannelForTest"])
def test_channels_beyond_the_classes_are_no_labels(score):
    model = tiny.build(
        energy_head={"type": "EnergyHead", "num_classes": 4, "score": {"type": score}}
    )
    nn.init.constant_(model.decode_head.conv_seg.bias[4:].data, 100.0)
    (sample,) = assert_same(model, tiny.batch(1, outliers=False))
    assert sample.pred_sem_seg.data.max() <= 3
    assert (sample.pred_anomaly.data.max() > 50) == (score == "LastChannelForTest")


def test_predictions_without_samples():
    model = tiny.build()
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        (whole,) = model.predict(images)
        model.keep_logits = False
        (fused,) = model.predict(images)
    torch.testing.assert_close(fused.pred_anomaly.data, whole.pred_anomaly.data)
    assert torch.equal(fused.pred_sem_seg.data.long(), whole.pred_sem_seg.data)


def test_mmsegs_path_is_taken_where_logits_are_averaged_or_flipped():
    slide = tiny.build(test_cfg={"mode": "slide", "crop_size": (24, 24), "stride": (16, 16)})
    (sample,) = predict(slide, tiny.batch(1, outliers=False), False)
    assert "seg_logits" in sample

    model, data = tiny.build(), tiny.batch(1, outliers=False)
    (straight,) = predict(model, data, False)
    data["data_samples"][0].set_metainfo({"flip": True, "flip_direction": "horizontal"})
    (flipped,) = predict(model, data, False)
    torch.testing.assert_close(flipped.pred_anomaly.data, straight.pred_anomaly.data.flip(2))


def test_a_score_of_neighbouring_pixels_reads_whole_maps():
    model = tiny.build()
    model.energy_head.score.pointwise = False
    (sample,) = predict(model, tiny.batch(1, outliers=False), False)
    assert "seg_logits" in sample


def test_decode_heads_with_an_inference_of_their_own_keep_it(monkeypatch):
    model = tiny.build()
    kind = type(model.decode_head)
    by_feat = kind.predict_by_feat
    monkeypatch.setattr(kind, "predict_by_feat", lambda self, x, metas: -by_feat(self, x, metas))
    (sample,) = predict(model, tiny.batch(1, outliers=False), False)
    (plain,) = predict(tiny.build(), tiny.batch(1, outliers=False), True)
    monkeypatch.undo()
    assert "seg_logits" in sample
    assert torch.equal(plain.seg_logits.data, sample.seg_logits.data)


def test_missing_channels_are_named():
    model = tiny.build(energy_head={"type": "EnergyHead", "num_classes": 19})
    with pytest.raises(ValueError, match="5 channels"):
        predict(model, tiny.batch(1), False)


def test_the_option_comes_from_the_config_and_augmentation_overrules_it():
    model = MODELS.build(ConfigDict(tiny.model_config(keep_logits=False))).eval()
    with torch.no_grad():
        (sample,) = model.test_step(tiny.batch(1, outliers=False))
        assert "seg_logits" not in sample
        OODTTAModel(module=model)
        (sample,) = model.test_step(tiny.batch(1, outliers=False))
        assert "seg_logits" in sample
