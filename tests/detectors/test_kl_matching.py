"""KL matching against loops over pixels and classes."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_networks import dense, fitted, image_level, images_and_labels

from ood_seg.detectors import KLMatching, Outputs, StatisticsFile
from ood_seg.detectors.kl_matching import kl_matching
from ood_seg.scores import entropy

GENERATOR = torch.Generator().manual_seed(6)
LOGITS = torch.randn(2, 4, 3, 5, generator=GENERATOR, dtype=torch.float64) * 3
POSTERIORS = torch.rand(3, 4, generator=GENERATOR, dtype=torch.float64)
POSTERIORS = POSTERIORS / POSTERIORS.sum(dim=1, keepdim=True)
IMAGES, LABELS = images_and_labels(5, size=(16, 24))


def softmax(vector):
    values = np.exp(vector - vector.max())
    return values / values.sum()


def slow_score(logits, posteriors):
    """The score of one pixel."""
    p = softmax(logits)
    return min(
        sum(p[j] * (math.log(p[j]) - math.log(d[j])) for j in range(len(p)) if p[j])
        for d in posteriors
    )


def test_equals_the_loop():
    scores = kl_matching(LOGITS, POSTERIORS)
    for n, y, x in np.ndindex(2, 3, 5):
        expected = slow_score(LOGITS[n, :, y, x].numpy(), POSTERIORS.numpy())
        assert scores[n, y, x].item() == pytest.approx(expected, rel=1e-9)


def test_hand_worked_and_zero_at_a_template():
    posteriors = torch.tensor([[0.5, 0.5], [0.9, 0.1]])
    logits = torch.tensor([[0.0, 0.0], [math.log(9), 0.0], [0.0, math.log(3)]])
    expected = [0, 0, 0.25 * math.log(0.5) + 0.75 * math.log(1.5)]
    np.testing.assert_allclose(kl_matching(logits, posteriors), expected, atol=1e-6)


def test_uniform_template_leaves_the_entropy():
    scores = kl_matching(LOGITS, torch.full((1, 4), 0.25))
    torch.testing.assert_close(scores, math.log(4) - entropy(LOGITS), rtol=1e-6, atol=1e-6)


def test_invariances():
    scores = kl_matching(LOGITS, POSTERIORS)
    torch.testing.assert_close(kl_matching(LOGITS + 50, POSTERIORS), scores)
    order = [3, 1, 0, 2]
    permuted = kl_matching(LOGITS[:, order], POSTERIORS[[2, 0, 1]][:, order])
    torch.testing.assert_close(permuted, scores)


def test_extreme_logits_and_zero_posteriors_are_finite():
    logits = torch.tensor([[1e4, 0.0, -1e4], [-torch.inf, 0.0, 0.0]])
    scores = kl_matching(logits, torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5]]))
    assert scores.isfinite().all()
    np.testing.assert_allclose(scores, [0, 0], atol=1e-6)


def test_half_precision_is_scored_in_float32():
    scores = kl_matching(LOGITS.half(), POSTERIORS)
    torch.testing.assert_close(scores, kl_matching(LOGITS.half().float(), POSTERIORS))


def test_fit_is_the_mean_posterior_by_prediction():
    network = dense(classes=4, seed=2)
    file = fitted(KLMatching.fitter(), network, IMAGES, LABELS, [1, 4])
    logits = F.interpolate(network(IMAGES).logits, LABELS.shape[1:], mode="bilinear").numpy()
    pixels = logits.transpose(0, 2, 3, 1)[LABELS.numpy() < 254]
    posteriors = np.array([softmax(pixel.astype(np.float64)) for pixel in pixels])
    predicted = pixels.argmax(axis=1)
    section = file.methods["kl-matching"].tensors
    present = [index for index in range(4) if (predicted == index).any()]
    for index in present:
        expected = posteriors[predicted == index].mean(axis=0)
        np.testing.assert_allclose(section["posteriors"][index], expected, rtol=1e-5)
    templates = [posteriors[predicted == index].mean(axis=0) for index in present]
    score = KLMatching(file)(torch.from_numpy(pixels[:20]))
    expected = [slow_score(pixel, templates) for pixel in pixels[:20].astype(np.float64)]
    np.testing.assert_allclose(score, expected, rtol=1e-3, atol=1e-6)


def test_class_that_is_never_predicted_is_left_out():
    fitter = KLMatching.fitter()
    logits = torch.tensor([[5.0, 1.0, 0.0], [4.0, 0.0, 0.0]])
    fitter.update(Outputs(logits, {}), torch.zeros(2, dtype=torch.long), image_level())
    file = fitter.result()
    assert file.tensors["counts"].tolist() == [2, 0, 0]
    score = KLMatching(StatisticsFile({"kl-matching": file}))
    assert len(score.predicted) == 1
    probe = torch.tensor([[0.0, 5.0, 0.0]])
    expected = slow_score(
        probe[0].double().numpy(), file.tensors["posteriors"][:1].double().numpy()
    )
    assert score(probe).item() == pytest.approx(expected, rel=1e-5)


def test_single_class_is_never_anomalous():
    file = fitted(KLMatching.fitter(), dense(classes=1), IMAGES, LABELS.where(LABELS > 253, 0))
    assert KLMatching(file)(torch.randn(2, 1, 3, 3)).abs().max() == 0


def test_bad_input():
    network = dense()
    fitter = KLMatching.fitter()
    fitter.update(network(IMAGES), torch.full_like(LABELS, 254), network)
    with pytest.raises(ValueError, match=r"KL matching.*known pixel"):
        fitter.result()
    file = fitted(KLMatching.fitter(), network, IMAGES, LABELS)
    with pytest.raises(ValueError, match=r"\b4 classes.*\b5\b"):
        KLMatching(file)(torch.zeros(1, 5))
