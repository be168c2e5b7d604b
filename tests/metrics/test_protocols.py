"""Protocols against slow transcriptions of what was published, and where they must differ."""

from __future__ import annotations

import doctest
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, average_precision_score, roc_auc_score, roc_curve

from ood_seg.metrics import pixel_metrics, protocols
from ood_seg.metrics.protocols import PROTOCOLS, get_protocol


def scene(num_images=3, size=400, *, digits=None, seed=0, fraction=0.1):
    """Images of scores in [0, 1], anomalies higher, a tenth of the pixels ignored."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(num_images):
        labels = (rng.random(size) < fraction).astype(np.uint8)
        labels[:2] = [0, 1]
        scores = 1 / (1 + np.exp(2 - rng.normal(size=size) - 2 * labels))
        labels[rng.random(size) < 0.1] = 255
        scores = scores.astype(np.float32) if digits is None else scores.round(digits)
        images.append((scores, labels))
    return images


def valid(images) -> tuple[np.ndarray, np.ndarray]:
    """All scores and labels without the ignored."""
    scores, labels = (np.concatenate(parts) for parts in zip(*images, strict=True))
    return scores[labels < 255], labels[labels < 255]


def areas(images) -> dict[str, float]:
    """Pooled AUROC and AP by scikit-learn."""
    scores, labels = valid(images)
    return {
        "auroc": roc_auc_score(labels, scores),
        "ap": average_precision_score(labels, scores),
    }


def slow_pebal(images) -> dict[str, float]:
    """Threshold by threshold from the lowest: the first with the recall nearest to 0.95."""
    scores, labels = valid(images)
    nearest, fpr = np.inf, None
    for threshold in np.unique(scores):
        hits = ((scores >= threshold) & (labels == 1)).sum()
        alarms = ((scores >= threshold) & (labels == 0)).sum()
        if threshold < scores[labels == 1].min():
            continue  # only the highest threshold with full recall is looked at
        distance = abs(hits / (labels == 1).sum() - 0.95)
        if distance < nearest:
            nearest, fpr = distance, alarms / (labels == 0).sum()
    return {**areas(images), "fpr95": fpr}


def slow_fishyscapes(images) -> dict[str, float]:
    """First threshold from above with a recall of 0.95 or more."""
    scores, labels = valid(images)
    scores = scores.astype(np.float32)
    for threshold in np.unique(scores)[::-1]:
        if ((scores >= threshold) & (labels == 1)).sum() / (labels == 1).sum() >= 0.95:
            break
    alarms = ((scores >= threshold) & (labels == 0)).sum()
    float32_images = [(scores, labels)]
    return {**areas(float32_images), "fpr95": alarms / (labels == 0).sum()}


def slow_densehybrid(images) -> dict[str, float]:
    """First point of scikit-learn's curve, as it is by default, above 0.95."""
    scores, labels = valid(images)
    fpr, tpr, _ = roc_curve(labels, scores)
    return {**areas(images), "fpr95": next(f for f, t in zip(fpr, tpr, strict=True) if t > 0.95)}


def slow_sml(images) -> dict[str, float]:
    """Linear interpolation of scikit-learn's curve."""
    scores, labels = valid(images)
    fpr, tpr, _ = roc_curve(labels, scores)
    return {**areas(images), "fpr95": np.interp(0.95, tpr, fpr)}


def slow_smiyc(images) -> dict[str, float]:
    """Pixels become the lower edge of their bin; then a curve over all distinct edges."""
    rounded = []
    for scores, labels in images:
        scores, labels = scores[labels < 255].astype(np.float16), labels[labels < 255]
        if not scores.size:
            continue
        lowest, highest = float(min(scores)), float(max(scores))
        margin = max((highest - lowest) / 100, 0.01)
        edges = {lowest - margin, highest + margin}
        for value in (0, 1):
            part = scores[labels == value]
            if part.size:
                edges |= set(np.quantile(part, np.linspace(0, 1, min(384, part.size))).tolist())
        edges = sorted(edges)
        for score, label in zip(scores.tolist(), labels, strict=True):
            below = max(edge for edge in edges[:-1] if edge <= score)
            rounded.append((below, label))
    scores, labels = np.array(rounded).T
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return {
        "auroc": auc(fpr, tpr),
        "ap": average_precision_score(labels, scores),
        "fpr95": fpr[np.flatnonzero(tpr >= 0.95)[0]],
    }


def slow_meta_ood(images, balanced: float, natural: float) -> dict[str, float]:
    """Pixels of both classes drawn out again from their counts, then scikit-learn."""
    scores, labels = valid(images)
    counts = [np.zeros(100), np.zeros(100)]
    for score, label in zip(scores, labels, strict=True):
        counts[label][min(int(score * 100), 99)] += 1
    share = (labels == 0).mean()

    def drawn(number_known, number_anomalous):
        values, truth = [], []
        for label, number in ((0, number_known), (1, number_anomalous)):
            copies = (counts[label] / counts[label].sum() * number).astype("uint32")
            values.append(np.repeat(np.arange(1, 101) / 100, copies))
            truth.append(np.full(copies.sum(), label))
        return np.concatenate(truth), np.concatenate(values)

    fpr, tpr, _ = roc_curve(*drawn(balanced, balanced))
    return {
        "auroc": auc(fpr, tpr),
        "ap": average_precision_score(*drawn(natural * share, natural * (1 - share))),
        "fpr95": fpr[np.abs(tpr - 0.95).argmin()],
    }


def slow_anomaly_seg(images) -> dict[str, float]:
    """Mean of `slow_pebal` of each image with both classes, with the number of those and others."""
    whole = [image for image in images if {0, 1} <= set(image[1].tolist())]
    results = [slow_pebal([image]) for image in whole]
    means = {name: np.mean([one[name] for one in results]) for name in results[0]}
    return {**means, "num_images": len(whole), "num_left_out": len(images) - len(whole)}


SLOW = {
    "anomaly-seg": slow_anomaly_seg,
    "fishyscapes": slow_fishyscapes,
    "pebal": slow_pebal,
    "densehybrid": slow_densehybrid,
    "sml": slow_sml,
    "smiyc": slow_smiyc,
}


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("digits", [None, 2, 1])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_transcription(name, digits, seed):
    images = scene(digits=digits, seed=seed)
    assert get_protocol(name).evaluate(images) == pytest.approx(SLOW[name](images), abs=1e-9)


def test_smiyc_takes_384_percentiles_of_a_class():
    images = scene(2, size=1500, fraction=0.5)
    assert min(np.bincount(images[0][1])[:2]) > 500
    found = get_protocol("smiyc").evaluate(images)
    assert found == pytest.approx(slow_smiyc(images), abs=1e-9)
    assert found != get_protocol("fishyscapes").evaluate(images)


@pytest.mark.parametrize("name", SLOW)
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(st.integers(0, 8), st.sampled_from([0, 1, 255])), min_size=1, max_size=30
        ),
        min_size=1,
        max_size=3,
    )
)
def test_equals_the_transcription_on_small_sets_with_ties(name, images):
    images = [
        (np.array([v / 8 for v, _ in image]), np.array([label for _, label in image], np.uint8))
        for image in images
    ]
    if set(valid(images)[1].tolist()) != {0, 1}:
        return
    if name == "anomaly-seg" and not any({0, 1} <= set(image[1].tolist()) for image in images):
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = get_protocol(name).evaluate(images)
    assert result == pytest.approx(SLOW[name](images), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_meta_ood_equals_the_transcription(seed, monkeypatch):
    assert (protocols._BALANCED, protocols._NATURAL) == (1e5, 1e7)
    monkeypatch.setattr(protocols, "_NATURAL", 1e5)
    images = scene(2, 3000, seed=seed)
    result = get_protocol("meta-ood").evaluate(images)
    assert result == pytest.approx(slow_meta_ood(images, 1e5, 1e5), abs=1e-9)


def test_pooled_is_the_default_metric():
    images = scene()
    expected = pixel_metrics(*(np.concatenate(parts) for parts in zip(*images, strict=True)))
    assert get_protocol("pooled").evaluate(images) == expected


def test_per_image_is_the_mean_over_images_with_both_classes():
    images = scene()
    expected = {
        name: np.mean([pixel_metrics(*image)[name] for image in images])
        for name in ("auroc", "ap", "fpr95")
    }
    one_class = [(np.ones(3), [0, 0, 255]), (np.ones(2), [1, 1])]
    result = get_protocol("per-image").evaluate([*images, *one_class])
    assert result == pytest.approx({**expected, "num_images": 3, "num_left_out": 2}, abs=1e-12)


def test_anomaly_seg_takes_the_nearest_recall_in_each_image():
    # 19 of 20 anomalies are found at 2; the same recall holds down to the known pixel at 1.5.
    twenty = np.array([*range(1, 21), 10.5, 1.5, 0.5, 0.4]), np.array([1] * 20 + [0] * 4)
    separated, anomalous = (np.array([3.0, 2.0]), [1, 0]), (np.ones(2), [1, 1])
    found = {
        name: get_protocol(name).evaluate([twenty, separated, anomalous])
        for name in ("per-image", "anomaly-seg")
    }
    assert found["per-image"].pop("fpr95") == pytest.approx((0.25 + 0) / 2)
    assert found["anomaly-seg"].pop("fpr95") == pytest.approx((0.5 + 0) / 2)
    assert found["per-image"] == found["anomaly-seg"]


@pytest.mark.parametrize("shift", [-8, 0, 8, 1000])
def test_smiyc_keeps_the_highest_scores_apart_wherever_they_lie(shift):
    # As few scores as percentiles, each representable as float16: every score has its own bin.
    scores, labels = np.array([1.0, 2, 3, 4, 5, 5]) + shift, np.array([0, 0, 1, 0, 1, 0])
    expected = get_protocol("pooled").evaluate([(scores, labels)])
    assert get_protocol("smiyc").evaluate([(scores, labels)]) == pytest.approx(expected)


def test_smiyc_of_scores_above_zero_equals_the_transcription():
    images = [(4 + 60 * scores, labels) for scores, labels in scene(2, size=1500, fraction=0.5)]
    found = get_protocol("smiyc").evaluate(images)
    assert found == pytest.approx(slow_smiyc(images), abs=1e-9)


def test_rules_differ_on_twenty_anomalies():
    # Anomalies 1..20; 19 of 20 are exactly 95 %, reached at 2. Known: 1 above, 1 in the gap
    # between 1 and 2, 2 below all.
    scores = np.array([*range(1, 21), 10.5, 1.5, 0.5, 0.4])
    labels = np.array([1] * 20 + [0] * 4)
    fpr95 = {
        name: get_protocol(name).evaluate([(scores, labels)])["fpr95"]
        for name in ("pooled", "fishyscapes", "pebal", "sml", "densehybrid")
    }
    # Nearest and interpolated: 95 % holds down to 1.5. More than 95 % needs all.
    expected = {"pooled": 0.25, "fishyscapes": 0.25, "pebal": 0.5, "sml": 0.5, "densehybrid": 0.5}
    assert fpr95 == pytest.approx(expected)


def test_nearest_recall_may_be_less_than_asked():
    # 19 anomalies: 18 are 94.7 %, nearer to 95 than 100.
    scores = np.array([*range(1, 20), 1.5, 0.5])
    labels = np.array([1] * 19 + [0] * 2)
    assert get_protocol("pebal").evaluate([(scores, labels)])["fpr95"] == 0.5
    assert get_protocol("pooled").evaluate([(scores, labels)])["fpr95"] == 0.5
    scores[-2:] = 0.5
    assert get_protocol("pebal").evaluate([(scores, labels)])["fpr95"] == 0
    assert get_protocol("pooled").evaluate([(scores, labels)])["fpr95"] == 0


@pytest.mark.parametrize("name", PROTOCOLS)
class TestAll:
    def test_takes_tensors_maps_and_a_generator(self, name):
        images = scene()
        maps = (
            (torch.tensor(scores).view(20, 20), torch.tensor(labels).view(20, 20))
            for scores, labels in images
        )
        assert get_protocol(name).evaluate(maps) == get_protocol(name).evaluate(images)

    @pytest.mark.parametrize("images", [[], [([0.1, 0.2], [0, 0])], [([0.1, 0.2], [1, 255])]])
    def test_absent_class(self, name, images):
        with pytest.warns(UserWarning, match="NaN"):
            result = get_protocol(name).evaluate(images)
        assert all(np.isnan(result[key]) for key in ("auroc", "ap", "fpr95"))

    def test_names_the_image_shape(self, name):
        with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
            get_protocol(name).evaluate([([0.1, 0.2], [0, 1, 0])])

    def test_has_a_line(self, name):
        protocol = get_protocol(name)
        assert protocol.name == name
        assert "FPR95" in protocol.description
        assert "\n" not in protocol.description


def test_unknown_protocol_lists_all():
    with pytest.raises(ValueError, match="'official'; available: pooled, per-image, anomaly-seg"):
        get_protocol("official")


def test_scores_out_of_range():
    with pytest.raises(ValueError, match=r"expects scores in \[0, 1\].*got -1 to 0.5"):
        get_protocol("meta-ood").evaluate([([-1.0, 0.5], [0, 1])])
    with pytest.raises(ValueError, match="up to 65504; got 0 to 1e"):
        get_protocol("smiyc").evaluate([([0.0, 1e6], [0, 1])])


def test_example_of_the_documentation():
    outcome = doctest.testmod(protocols)
    assert outcome.attempted > 0
    assert outcome.failed == 0
