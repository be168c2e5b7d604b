"""Test-time augmentation: logits are averaged, then scored."""

import copy

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.registry import init_default_scope

import ood_seg.register  # noqa: F401
from ood_seg import scores
from ood_seg.models import OODTTAModel
from ood_seg.smoothing import gaussian_smooth

init_default_scope("mmseg")


def test_logits_are_averaged_first():
    model = tiny.build()
    straight, flipped = tiny.batch(1, outliers=False), tiny.batch(1, outliers=False)
    flipped["inputs"] = [image.flip(2) for image in flipped["inputs"]]
    flipped["data_samples"][0].set_metainfo({"flip": True, "flip_direction": "horizontal"})
    with torch.no_grad():
        singles = [model.test_step(copy.deepcopy(data))[0] for data in (straight, flipped)]
        # BaseTTAModel expects, for each augmentation, the batch of images.
        data = {
            "inputs": [straight["inputs"], flipped["inputs"]],
            "data_samples": [straight["data_samples"], flipped["data_samples"]],
        }
        (merged,) = OODTTAModel(module=model).test_step(data)
    mean = (singles[0].seg_logits.data + singles[1].seg_logits.data) / 2
    torch.testing.assert_close(merged.seg_logits.data, mean)
    torch.testing.assert_close(merged.pred_anomaly.data, scores.energy(mean[None]))
    assert torch.equal(merged.pred_sem_seg.data, mean.argmax(0, keepdim=True))
    averaged_scores = (singles[0].pred_anomaly.data + singles[1].pred_anomaly.data) / 2
    assert not torch.allclose(merged.pred_anomaly.data, averaged_scores)
    assert "gt_sem_seg" in merged


def resized(data, size):
    """The same batch with its images at another size, predicted at the original one."""
    for sample in data["data_samples"]:
        sample.set_metainfo({"ori_shape": (32, 48), "img_shape": size})
    data["inputs"] = [
        torch.nn.functional.interpolate(image[None].float(), size=size, mode="bilinear")[0]
        for image in data["inputs"]
    ]
    return data


def merge(model, *augmented):
    data = {
        name: [one[name] for one in map(copy.deepcopy, augmented)]
        for name in ("inputs", "data_samples")
    }
    with torch.no_grad():
        return OODTTAModel(module=model).test_step(data)


def test_scales_are_averaged_at_the_original_size():
    model = tiny.build()
    scales = [
        resized(tiny.batch(2, outliers=False), size) for size in ((24, 40), (32, 48), (50, 70))
    ]
    with torch.no_grad():
        singles = [model.test_step(copy.deepcopy(data)) for data in scales]
    for index, merged in enumerate(merge(model, *scales)):
        mean = torch.stack([samples[index].seg_logits.data for samples in singles]).mean(dim=0)
        assert mean.shape == (5, 32, 48)
        torch.testing.assert_close(merged.seg_logits.data, mean)
        torch.testing.assert_close(merged.pred_anomaly.data, scores.energy(mean[None]))


def test_smoothing_comes_after_the_average_and_the_score():
    head = {"type": "EnergyHead", "smoothing": {"kernel_size": 5, "sigma": 1.0}}
    data = [resized(tiny.batch(1, outliers=False), size) for size in ((24, 40), (50, 70))]
    (smooth,) = merge(tiny.build(energy_head=head), *data)
    (raw,) = merge(tiny.build(), *data)
    expected = gaussian_smooth(raw.pred_anomaly.data, 5, 1.0)
    torch.testing.assert_close(smooth.pred_anomaly.data, expected)
    assert torch.equal(smooth.seg_logits.data, raw.seg_logits.data)


def test_a_model_that_drops_its_logits_keeps_them_for_the_average():
    data = [resized(tiny.batch(1, outliers=False), size) for size in ((24, 40), (50, 70))]
    (expected,) = merge(tiny.build(), *data)
    (found,) = merge(tiny.build(keep_logits=False), *data)
    assert torch.equal(found.pred_anomaly.data, expected.pred_anomaly.data)


def test_channels_beyond_the_classes_are_averaged_for_a_score_that_reads_them():
    head = {"type": "EnergyHead", "num_classes": 3, "score": {"type": "DenseHybrid"}}
    model = tiny.build(energy_head=head)
    data = [resized(tiny.batch(1, outliers=False), size) for size in ((24, 40), (50, 70))]
    with torch.no_grad():
        singles = [model.test_step(copy.deepcopy(one))[0].all_logits.data for one in data]
    (merged,) = merge(model, *data)
    mean = (singles[0] + singles[1]) / 2
    torch.testing.assert_close(merged.pred_anomaly.data, scores.dense_hybrid(mean[None]))
    assert merged.seg_logits.data.shape[0] == 3
