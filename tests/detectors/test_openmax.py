"""OpenMax against a slow loop with SciPy's Weibull distribution, and in limiting cases."""

import numpy as np
import pytest
import torch
import toy_networks
from scipy.stats import weibull_min

from ood_seg.detectors import OpenMax
from ood_seg.detectors.openmax import weibull_fit


def trained_logits(count=400, classes=4, seed=0):
    """Logits that are mostly right, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    logits = torch.randn(count, classes, generator=generator)
    logits[torch.arange(count), labels] += 4
    return logits, labels


def fit_on(logits, labels, **options):
    from ood_seg.detectors import Outputs, StatisticsFile

    fitter = OpenMax.fitter(**options)
    fitter.update(Outputs(logits, {}), labels, None)
    return StatisticsFile({"openmax": fitter.result()})


def slow_openmax(row, means, tails, top):
    """Algorithm 2 for one sample; probability of the unknown class."""
    order = np.argsort(-row, kind="stable")
    revised, unknown = row.copy(), 0.0
    for i, index in enumerate(order[:top], start=1):
        smallest, shape, scale = tails[index]
        distance = np.linalg.norm(row - means[index]) - smallest + 10_000
        weight = (top + 1 - i) / top * weibull_min.cdf(distance, shape, scale=scale)
        revised[index] = row[index] * (1 - weight)
        unknown += row[index] * weight
    every = np.append(revised, unknown)
    return np.exp(unknown) / np.exp(every).sum()


@pytest.mark.parametrize("top", [1, 3, 10])
def test_equals_slow_loop(top):
    logits, labels = trained_logits()
    score = OpenMax(fit_on(logits, labels, tail=20), top_classes=top)
    values, right = logits.double().numpy(), (logits.argmax(dim=1) == labels).numpy()
    means, tails = [], []
    for index in range(4):
        rows = values[right & (labels.numpy() == index)]
        means.append(rows.mean(axis=0))
        tail = np.sort(np.linalg.norm(rows - means[-1], axis=1))[-20:]
        moved = tail - tail.min() + 10_000
        shape, scale = weibull_fit(torch.from_numpy(moved))
        tails.append((tail.min(), shape, scale))
    probes = np.concatenate([values[:40], 3 * values[40:60]])
    expected = [slow_openmax(row, means, tails, min(top, 4)) for row in probes]
    found = score(torch.from_numpy(probes).float()).sigmoid().numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.ptp(expected) > 0.3


def test_dense_logits_are_scored_pixel_by_pixel():
    logits, labels = trained_logits()
    score = OpenMax(fit_on(logits, labels))
    maps = logits[:24].T.reshape(1, 4, 4, 6)
    assert torch.allclose(score(maps).flatten(), score(logits[:24]), atol=1e-5)


@pytest.mark.parametrize(("shape", "scale", "start"), [(1.5, 2.0, 0.0), (0.8, 1.0, 0.0),
                                                       (3.0, 2.0, 10_000.0)])  # fmt: skip
def test_weibull_fit_is_the_likeliest(shape, scale, start):
    sample = weibull_min.rvs(shape, scale=scale, size=300, random_state=1) + start
    found = weibull_fit(torch.from_numpy(sample))

    def likelihood(shape, scale):
        return weibull_min.logpdf(sample, shape, scale=scale).sum()

    if not start:
        expected = weibull_min.fit(sample, floc=0)
        np.testing.assert_allclose(found, (expected[0], expected[2]), rtol=1e-3)
        assert found == pytest.approx((shape, scale), rel=0.15)
    best = likelihood(*found)
    for change in (0.999, 1.001):
        assert likelihood(found[0] * change, found[1]) < best
        assert likelihood(found[0], found[1] * (1 + (change - 1) * 1e-3)) < best


def test_what_is_far_from_every_class_is_unknown():
    logits, labels = trained_logits()
    score = OpenMax(fit_on(logits, labels))
    known = score(logits).median()
    far = score(torch.tensor([[9.0, 9.0, 9.0, 9.0], [6.0, 6.0, 0.0, 0.0]]))
    assert (far > known).all()
    assert (far.sigmoid() > 0.5).all()


def test_a_class_without_a_tail_is_not_revised():
    logits, labels = trained_logits()
    few = (labels != 2) | (torch.arange(400) < 40)
    statistics = fit_on(logits[few], labels[few], tail=20)
    section = statistics.methods["openmax"].tensors
    assert section["shapes"][2] == 0
    assert (section["shapes"][[0, 1, 3]] > 0).all()
    logit = torch.tensor([[-50.0, -50.0, 10.0, -50.0]])
    assert OpenMax(statistics, 1)(logit).item() == pytest.approx(-10, abs=1e-4)


def test_bad_input():
    logits, labels = trained_logits(40)
    with pytest.raises(ValueError, match=r"OpenMax.*classified correctly"):
        fit_on(logits, labels * 0 + 255)
    with pytest.raises(ValueError, match=r"OpenMax.*\b20\b.*correctly"):
        fit_on(logits[:9], labels[:9])
    with pytest.raises(ValueError, match=r"tail.*class_sample = 10.*\b20\b"):
        OpenMax.fitter(class_sample=10)
    statistics = fit_on(logits, labels, tail=3)
    with pytest.raises(ValueError, match=r"top_classes.*\b0\b"):
        OpenMax(statistics, 0)
    with pytest.raises(ValueError, match=r"4 classes.*\(1, 5\)"):
        OpenMax(statistics)(torch.zeros(1, 5))
    with pytest.raises(ValueError, match=r"Weibull.*\b2\b.*\b3\b"):
        weibull_fit(torch.ones(3, dtype=torch.float64))
    network = toy_networks.dense()
    images, labels = toy_networks.images_and_labels()
    images[0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"infinite or NaN"):
        toy_networks.fitted(OpenMax.fitter(tail=2), network, images, labels * 0)
