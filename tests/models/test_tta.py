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
