"""ERFNet's labels and scores on a real picture are the same with and without full-size logits."""

import cv2
import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("mmseg")
from ood_seg.apis import AnomalyInferencer
from ood_seg.full_resolution import labels_and_scores


@pytest.fixture(scope="module")
def erfnet(real_data):
    weights = real_data / "weights" / "erfnet_cityscapes_mmseg.pth"
    return AnomalyInferencer("energy_fcn-erfnet_cityscapes", weights, device="cpu")


@pytest.fixture
def picture(real_data):
    path = next((real_data / "road_anomaly").rglob("*.jpg"))
    return cv2.imread(str(path))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1024, 512), (1280, 720), (2048, 1024)])
def test_inferencer_gives_the_same_without_logits(erfnet, picture, size):
    results = []
    for keep_logits in (True, False):
        erfnet.model.keep_logits = keep_logits
        results.append(erfnet(cv2.resize(picture, size)))
    assert (results[0].labels != results[1].labels).sum() == 0
    assert abs(results[0].anomaly - results[1].anomaly).max() <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1024, 2048), (720, 1280)])
def test_real_logits_interpolated_to_other_sizes(erfnet, picture, size):
    model, kept = erfnet.model, []
    model.keep_logits = False
    hook = model.decode_head.register_forward_hook(lambda *args: kept.append(args[-1]))
    erfnet(cv2.resize(picture, (1024, 512)))
    hook.remove()
    (logits,) = kept
    whole = F.interpolate(logits, size=size, mode="bilinear")
    labels, scores = labels_and_scores(logits, size, model.energy_head.score)
    assert logits.shape == (1, 19, 256, 512)
    assert (labels != whole.argmax(dim=1)).sum() == 0
    torch.testing.assert_close(scores, model.energy_head.score(whole), rtol=0, atol=1e-5)
