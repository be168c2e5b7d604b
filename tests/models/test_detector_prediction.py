"""Scores of activations and of the network itself, in prediction, inferencer and augmentation."""

import copy

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("mmseg")
import tiny
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_detectors import ActivationNorm, BrighterImage, GradientNorm, NearestMean

import ood_seg.register  # noqa: F401
from ood_seg.detectors import PENULTIMATE, Statistics, StatisticsFile
from ood_seg.models.detector_scores import network_of
from ood_seg.smoothing import gaussian_smooth

init_default_scope("mmseg")
for _kind in (BrighterImage, ActivationNorm, GradientNorm, NearestMean):
    MODELS.register_module(module=_kind, force=True)


def build(score, **head):
    return tiny.build(energy_head={"type": "EnergyHead", "score": score, **head})


def predict(model, **options):
    return model.test_step(tiny.batch(**options))


def interpolated(scores, input_size, padding, size, *, flip=False):
    """By hand: to the input's size, right and bottom padding off, flipped, to the image's size."""
    scores = F.interpolate(scores[None, None], input_size, mode="bilinear")
    scores = scores[..., : input_size[0] - padding[0], : input_size[1] - padding[1]]
    scores = scores.flip(-1) if flip else scores
    return F.interpolate(scores, size, mode="bilinear")[0, 0]


def test_score_of_an_activation_is_interpolated_as_logits_are():
    model = build({"type": "ActivationNorm"})
    batch = tiny.batch(1, size=(30, 44))
    batch["data_samples"][0].set_metainfo({"ori_shape": (61, 90)})
    prepared = model.data_preprocessor(copy.deepcopy(batch), False)["inputs"]
    assert prepared.shape[-2:] == (32, 48)
    (sample,) = model.test_step(batch)
    with torch.no_grad():
        features = model.extract_feat(prepared)
    features = features[-1] if isinstance(features, (tuple, list)) else features
    expected = interpolated(features.norm(dim=1)[0], (32, 48), (2, 4), (61, 90))
    torch.testing.assert_close(sample.pred_anomaly.data, expected[None])
    plain = tiny.build()
    (reference,) = plain.test_step(batch)
    torch.testing.assert_close(sample.seg_logits.data, reference.seg_logits.data)
    assert torch.equal(sample.pred_sem_seg.data, reference.pred_sem_seg.data)


def test_a_flipped_image_is_flipped_back():
    model = build({"type": "ActivationNorm"})
    batch = tiny.batch(1)
    (plain,) = model.test_step(copy.deepcopy(batch))
    batch["data_samples"][0].set_metainfo({"flip": True, "flip_direction": "horizontal"})
    (flipped,) = model.test_step(batch)
    torch.testing.assert_close(flipped.pred_anomaly.data, plain.pred_anomaly.data.flip(-1))


def test_score_that_runs_the_network_itself():
    model = build({"type": "BrighterImage"})
    batch = tiny.batch(1)
    prepared = model.data_preprocessor(copy.deepcopy(batch), False)["inputs"]
    (sample,) = model.test_step(batch)
    with torch.no_grad():
        small = -model(prepared + 1, mode="tensor").amax(dim=1)[0]
    torch.testing.assert_close(
        sample.pred_anomaly.data[0], interpolated(small, (32, 48), (0, 0), (32, 48))
    )


def test_smoothing_comes_last():
    smoothing = {"kernel_size": 5, "sigma": 1.5}
    (raw,), (smooth,) = (
        predict(build({"type": "ActivationNorm"}, **options), count=1)
        for options in ({}, {"smoothing": smoothing})
    )
    torch.testing.assert_close(
        smooth.pred_anomaly.data, gaussian_smooth(raw.pred_anomaly.data, **smoothing)
    )


@pytest.mark.parametrize("kind", ["ActivationNorm", "BrighterImage", "GradientNorm"])
def test_works_in_inference_mode_for_batches_and_without_samples(kind):
    model = build({"type": kind})
    with torch.inference_mode():
        both = predict(model, count=2)
        images = model.data_preprocessor(tiny.batch(2), False)["inputs"]
        bare = model.predict(images)
    for found, expected in zip(both, predict(model, count=2), strict=True):
        torch.testing.assert_close(found.pred_anomaly.data, expected.pred_anomaly.data)
    for sample in bare:
        assert sample.pred_anomaly.data.shape == (1, 32, 48)
    assert all(parameter.grad is None for parameter in model.parameters())


def statistics_of(model, *, fingerprint=None):
    means = torch.randn(tiny.NUM_CLASSES, 16, generator=torch.Generator().manual_seed(3))
    section = Statistics("nearest-mean", {"means": means})
    return StatisticsFile({"nearest-mean": section}, fingerprint or network_of(model).fingerprint())


def test_statistics_come_from_a_file_and_stay_out_of_the_checkpoint(tmp_path):
    plain = tiny.build()
    statistics_of(plain).save(tmp_path / "tiny.stats")
    model = build({"type": "NearestMean", "statistics": str(tmp_path / "tiny.stats")})
    assert model.state_dict().keys() == plain.state_dict().keys()
    (sample,) = predict(model, count=1)
    features = network_of(model)(
        model.data_preprocessor(tiny.batch(1), False)["inputs"], [PENULTIMATE]
    ).features[PENULTIMATE][0]
    means = model.energy_head.score.means
    distances = torch.cdist(features.flatten(1).T, means).square().amin(dim=1)
    expected = interpolated(distances.view(features.shape[1:]), (32, 48), (0, 0), (32, 48))
    torch.testing.assert_close(sample.pred_anomaly.data[0], expected, rtol=1e-3, atol=1e-3)


def test_statistics_of_other_weights_are_refused_before_the_first_prediction(tmp_path):
    statistics_of(tiny.build(seed=1)).save(tmp_path / "other.stats")
    model = build({"type": "NearestMean", "statistics": str(tmp_path / "other.stats")})
    with pytest.raises(ValueError, match=r"other\.stats.*ood-seg fit"):
        predict(model)
    model.load_state_dict(tiny.build(seed=1).state_dict())  # as when a checkpoint is loaded
    predict(model)
    model.load_state_dict(tiny.build(seed=2).state_dict())
    with pytest.raises(ValueError, match=r"other\.stats.*ood-seg fit"):
        predict(model)


def test_missing_statistics_name_the_command_that_writes_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.stats.*ood-seg fit"):
        build({"type": "NearestMean", "statistics": str(tmp_path / "none.stats")})


def test_missing_layer_lists_those_that_exist():
    model = build({"type": "ActivationNorm", "layer": "backbone.encoder.7"})
    with pytest.raises(ValueError, match=r"'backbone\.encoder\.7'.*backbone\.encoder\.\d"):
        predict(model)


def test_windows_and_augmentation_are_refused():
    model = build({"type": "ActivationNorm"})
    model.test_cfg = type(model.test_cfg)(mode="slide", crop_size=(16, 16), stride=(8, 8))
    with pytest.raises(ValueError, match=r"ActivationNorm.*'slide'.*test_cfg\.mode='whole'"):
        predict(model)
    with pytest.raises(ValueError, match=r"augmentation.*ActivationNorm"):
        MODELS.build({"type": "OODTTAModel", "module": build({"type": "ActivationNorm"})})
    with pytest.raises(ValueError, match=r"ActivationNorm.*OODEncoderDecoder.predict"):
        model.energy_head.predict(torch.zeros(1, tiny.NUM_CLASSES, 4, 4))


def test_copies_of_a_model_use_their_own_weights():
    model = build({"type": "ActivationNorm"})
    (before,) = predict(model, count=1)
    twin = copy.deepcopy(model)
    for parameter in twin.backbone.parameters():
        parameter.data.zero_()
    (other,) = predict(twin, count=1)
    assert not torch.equal(other.pred_anomaly.data, before.pred_anomaly.data)
