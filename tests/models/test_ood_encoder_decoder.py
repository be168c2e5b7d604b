"""The segmentor: mmseg's results, with anomaly scores and outlier losses."""

import copy

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import ood_seg.register  # noqa: F401
from ood_seg import scores
from ood_seg.losses import distillation_loss, energy_loss
from ood_seg.smoothing import gaussian_smooth

init_default_scope("mmseg")
HEAD = {"type": "EnergyHead", "losses": [tiny.ENERGY_LOSS]}


def plain_twin(model, **changes):
    """mmseg's own segmentor with the same weights, loaded strictly."""
    twin = MODELS.build(ConfigDict(tiny.model_config(type="EncoderDecoder", **changes)))
    twin.load_state_dict(model.state_dict(), strict=True)
    return twin.eval()


def losses_of(model, data):
    data = model.data_preprocessor(copy.deepcopy(data), True)
    return model(**data, mode="loss"), data


def predict(model, data):
    with torch.no_grad():
        return model.test_step(copy.deepcopy(data))


def test_parameter_names_are_those_of_the_plain_segmentor():
    model = tiny.build(
        energy_head={"type": "EnergyHead", "losses": [dict(tiny.ENERGY_LOSS)]},
        auxiliary_head=tiny.head_config(),
    )
    twin = plain_twin(model, auxiliary_head=tiny.head_config())
    assert list(model.state_dict()) == list(twin.state_dict())


def test_closed_set_losses_ignore_outliers():
    model = tiny.build(energy_head=HEAD, auxiliary_head=tiny.head_config())
    losses, _ = losses_of(model, tiny.batch())
    data = tiny.batch()
    for sample in data["data_samples"]:
        sample.gt_sem_seg.data[sample.gt_sem_seg.data == 254] = 255
    expected, _ = losses_of(plain_twin(model, auxiliary_head=tiny.head_config()), data)
    for name in ("decode.loss_ce", "decode.acc_seg", "aux.loss_ce", "aux.acc_seg"):
        torch.testing.assert_close(losses[name], expected[name])


def test_energy_loss_is_computed_on_logits_at_label_size():
    model = tiny.build(energy_head=HEAD)
    losses, data = losses_of(model, tiny.batch())
    labels = torch.stack([s.gt_sem_seg.data[0] for s in data["data_samples"]])
    with torch.no_grad():
        logits = model.encode_decode(data["inputs"], [s.metainfo for s in data["data_samples"]])
    expected = 0.1 * energy_loss(logits, labels, margin_in=-5.0, margin_out=0.0)
    torch.testing.assert_close(losses["anomaly.loss_energy"], expected)
    energies = scores.energy(logits)
    torch.testing.assert_close(losses["anomaly.energy_outlier"], energies[labels == 254].mean())
    torch.testing.assert_close(losses["anomaly.energy_known"], energies[labels < 254].mean())


def test_data_samples_keep_their_outliers():
    model = tiny.build(energy_head=HEAD)
    _, data = losses_of(model, tiny.batch())
    assert (data["data_samples"][0].gt_sem_seg.data == 254).sum() == 120


def test_prediction_equals_the_plain_segmentors_plus_a_score():
    model = tiny.build(energy_head={"type": "EnergyHead", "score": {"type": "MaxLogit"}})
    data = tiny.batch(outliers=False)
    for ours, theirs in zip(predict(model, data), predict(plain_twin(model), data), strict=True):
        assert torch.equal(ours.seg_logits.data, theirs.seg_logits.data)
        assert torch.equal(ours.pred_sem_seg.data, theirs.pred_sem_seg.data)
        expected = scores.max_logit(ours.seg_logits.data[None])
        assert torch.equal(ours.pred_anomaly.data, expected)


def test_scores_come_at_the_original_size_and_unpadded():
    model = tiny.build()
    data = tiny.batch(1, size=(30, 45), outliers=False)  # not divisible by 8: padded
    data["data_samples"][0].set_metainfo({"ori_shape": (61, 97)})
    (sample,) = predict(model, data)
    assert sample.pred_anomaly.shape == (61, 97)
    assert torch.equal(sample.pred_anomaly.data, scores.energy(sample.seg_logits.data[None]))


def test_flipped_input_gives_the_map_flipped_back():
    model = tiny.build()
    data = tiny.batch(1, outliers=False)
    data["data_samples"][0].set_metainfo({"flip": True, "flip_direction": "horizontal"})
    (flipped,) = predict(model, data)
    data["data_samples"][0].set_metainfo({"flip": False})
    (straight,) = predict(model, data)
    torch.testing.assert_close(flipped.pred_anomaly.data, straight.pred_anomaly.data.flip(2))


def test_slide_inference_scores_the_averaged_logits():
    model = tiny.build(test_cfg={"mode": "slide", "crop_size": (24, 24), "stride": (16, 16)})
    (sample,) = predict(model, tiny.batch(1, outliers=False))
    (whole,) = predict(tiny.build(), tiny.batch(1, outliers=False))
    assert torch.equal(sample.pred_anomaly.data, scores.energy(sample.seg_logits.data[None]))
    assert not torch.equal(sample.seg_logits.data, whole.seg_logits.data)


def test_smoothing_is_the_last_step():
    head = {"type": "EnergyHead", "smoothing": {"kernel_size": 5, "sigma": 1.0}}
    (sample,) = predict(tiny.build(energy_head=head), tiny.batch(1, outliers=False))
    raw = scores.energy(sample.seg_logits.data[None])
    assert torch.equal(sample.pred_anomaly.data, gaussian_smooth(raw, 5, 1.0))


def test_extra_channel_reaches_neither_score_nor_prediction():
    head = {"type": "EnergyHead", "num_classes": 4}
    model = tiny.build(energy_head=head)
    torch.nn.init.constant_(model.decode_head.conv_seg.bias[4:].data, 100.0)
    (sample,) = predict(model, tiny.batch(1, outliers=False))
    assert sample.seg_logits.shape == (32, 48)
    assert sample.seg_logits.data.shape[0] == 4
    assert sample.pred_sem_seg.data.max() <= 3
    assert sample.pred_anomaly.data.min() > -100


def test_predictions_without_samples():
    (sample,) = tiny.build().predict(torch.randn(1, 3, 32, 48))
    assert sample.pred_anomaly.data.shape == (1, 32, 48)


def test_distillation_compares_with_the_pretrained_weights(tmp_path):
    model = tiny.build(seed=1)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "pretrained.pth")
    checkpoint = str(tmp_path / "pretrained.pth")
    student = tiny.build(seed=1, distillation={"checkpoint": checkpoint, "weight": 2.0})
    names = list(student.state_dict())
    losses, data = losses_of(student, tiny.batch())
    assert losses["loss_distillation"].item() == pytest.approx(0, abs=1e-5)

    student.decode_head.conv_seg.bias.data[0] += 1.0
    losses, _ = losses_of(student, tiny.batch())
    with torch.no_grad():
        logits, teacher = (m(data["inputs"], mode="tensor") for m in (student, model))
    labels = torch.stack([s.gt_sem_seg.data for s in data["data_samples"]]).float()
    labels = torch.nn.functional.interpolate(labels, logits.shape[-2:], mode="nearest")
    expected = 2.0 * distillation_loss(logits, teacher, labels[:, 0].long())
    assert expected > 0.01
    torch.testing.assert_close(losses["loss_distillation"], expected)
    assert list(student.state_dict()) == names == list(model.state_dict())


def test_heads_that_cannot_be_scored_are_refused():
    with pytest.raises(ValueError, match="at least 2 channels"):
        tiny.build(decode_head=tiny.head_config(2, out_channels=1, threshold=0.5))
    with pytest.raises(ValueError, match=r"loss_name.*'loss'"):
        tiny.build(energy_head=HEAD | {"losses": [tiny.ENERGY_LOSS | {"loss_name": "energy"}]})
    with pytest.raises(ValueError, match=r"loss_name.*Energy None"):
        tiny.build(energy_head=HEAD | {"losses": [{"type": "Energy"}]})
    model = tiny.build(energy_head={"type": "EnergyHead", "num_classes": 19})
    with pytest.raises(ValueError, match="5 channels"):
        predict(model, tiny.batch(1))


def test_head_that_returns_several_maps_needs_an_index(monkeypatch):
    model = tiny.build(energy_head=HEAD)
    forward, by_feat = model.decode_head.forward, model.decode_head.loss_by_feat
    monkeypatch.setattr(model.decode_head, "forward", lambda x: (forward(x) * 0, forward(x)))
    monkeypatch.setattr(model.decode_head, "loss_by_feat", lambda x, s: by_feat(x[1], s))
    with pytest.raises(ValueError, match="logits_index"):
        losses_of(model, tiny.batch())
    model.logits_index = 1
    losses, _ = losses_of(model, tiny.batch())
    expected, _ = losses_of(tiny.build(energy_head=HEAD), tiny.batch())
    torch.testing.assert_close(losses["anomaly.loss_energy"], expected["anomaly.loss_energy"])
