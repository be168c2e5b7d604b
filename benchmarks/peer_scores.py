"""Cases of `peers.py`: scores of logits, and scores fitted on features."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from peer_case import CHANNELS, CLASSES, Case
from torch import Tensor, nn
from torch.nn import functional

from ood_seg import detectors, scores
from ood_seg.detectors import Network, Outputs, StatisticsFile
from ood_seg.detectors.rectified import shape_activations


def score_cases(found: set[str], small: bool) -> Iterator[Case]:
    """Scores of the logits of an image."""
    if "pytorch_ood" not in found:
        return
    from pytorch_ood import detector as peer

    side = 16 if small else 512
    logits = 4 * torch.randn(1, CLASSES, side, 2 * side)
    weights = torch.rand(CLASSES)
    tail = ("pytorch-ood", f"{CLASSES} x {side} x {2 * side}")
    flat = logits / 4  # so that no probability is below their limit
    for name, ours, theirs, agree, remark in (
        ("energy", scores.energy, peer.EnergyBased.score, None, ""),
        (
            "max softmax",
            scores.max_softmax,
            peer.MaxSoftmax.score,
            lambda s: 1 + s,
            "theirs is smaller by 1",
        ),
        ("max logit", scores.max_logit, peer.MaxLogit.score, None, ""),
        ("entropy", scores.entropy, peer.Entropy.score, None, ""),
        (
            "GEN",
            lambda _: scores.generalized_entropy(flat),
            lambda _: peer.GEN.score(flat),
            lambda s: CLASSES * s,
            "theirs is the mean over the classes, ours the sum; theirs limits p to 1e-7 and above",
        ),
        (
            "weighted energy",
            lambda f: scores.weighted_energy(f, weights),
            lambda f: peer.WeightedEBO.score(f, weights),
            None,
            "",
        ),
    ):
        yield Case(
            f"{name}, {tail[1]}",
            tail[0],
            lambda call=ours: call(logits),
            lambda call=theirs: call(logits),
            agree or (lambda s: s),
            remark,
        )


@dataclass(frozen=True)
class Samples:
    """An image-level network on features, with fitted and scored samples."""

    network: Network
    linear: nn.Linear
    fitted: Outputs
    labels: Tensor
    scored: Outputs

    def detector(self, kind: Any, options: dict | None = None, **read: Any) -> Callable[[], Tensor]:
        """Our score of the samples, fitted."""
        fitter = kind.fitter(**(options or {}))
        with torch.no_grad():
            fitter.update(self.fitted, self.labels, self.network)
        section = fitter.result()
        score = kind(StatisticsFile({section.method: section}), **read)
        if score.needs == "logits":
            return lambda: score(self.scored.logits)
        return lambda: score(self.scored, self.network)


class _Classifier(nn.Module):
    """A linear classifier whose input is the feature."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.feature, self.fc = nn.Identity(), linear

    def forward(self, features: Tensor) -> Tensor:
        return self.fc(self.feature(features))


def make_samples(small: bool) -> Samples:
    """Rectified features of overlapping classes, and a classifier trained on them."""
    count = 4000 if small else 20_000
    labels = torch.arange(count) % CLASSES
    centres = 0.5 * torch.randn(CLASSES, CHANNELS)
    fitted = torch.relu(torch.randn(count, CHANNELS) + centres[labels])
    linear = nn.Linear(CHANNELS, CLASSES)
    optimizer = torch.optim.Adam(linear.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        functional.cross_entropy(linear(fitted), labels).backward()
        optimizer.step()
    linear.requires_grad_(False)
    network = Network(_Classifier(linear).eval(), classifier="fc")
    scored = torch.relu(2 * torch.randn(count // 4, CHANNELS))
    layers = ("penultimate",)
    return Samples(network, linear, network(fitted, layers), labels, network(scored, layers))


def detector_cases(found: set[str], small: bool) -> Iterator[Case]:
    """Fitted scores: the time is that of scoring, both sides are fitted on the same samples."""
    if "pytorch_ood" not in found:
        return
    from pytorch_ood import detector as peer

    one = make_samples(small)
    z, x = one.fitted.features["penultimate"], one.scored.features["penultimate"]
    weight, bias, y, every = one.linear.weight, one.linear.bias, one.labels, len(z)
    note = f"{len(x)} samples of {CHANNELS} channels"

    def fitted(theirs: Any, *labels: Tensor) -> Callable[[], Tensor]:
        theirs.fit_features(z, *labels)
        return lambda: theirs.predict_features(x)

    def on_logits(theirs: Any) -> Callable[[], Tensor]:
        theirs.fit_logits(one.fitted.logits, y)
        return lambda: theirs.predict_logits(one.scored.logits)

    def case(name: str, ours: Any, theirs: Any, agree: Any = None, remark: str = "") -> Case:
        return Case(f"{name}, {note}", "pytorch-ood", ours, theirs, agree or (lambda s: s), remark)

    mahalanobis = one.detector(detectors.Mahalanobis)
    yield case(
        "Mahalanobis",
        mahalanobis,
        fitted(peer.Mahalanobis(None), y),
        lambda s: every * s,
        "theirs is of the sum of the outer products, ours of their mean",
    )
    bank = {"bank_size": every}
    yield case(
        "kNN, k = 10",
        one.detector(detectors.NearestNeighbours, bank, k=10),
        fitted(peer.KNN(None, k=10), y),
    )
    yield case(
        "ViM, 32 dimensions",
        one.detector(detectors.VirtualLogit, {"dimensions": 32, "sample_size": every}),
        fitted(peer.ViM(None, 32, weight, bias), y),
    )
    yield case(
        "DICE",
        one.detector(detectors.DICE, percentile=70),
        fitted(peer.DICE(None, weight, bias, 0.7), y),
    )
    yield case("SHE", one.detector(detectors.SHE), fitted(peer.SHE(None, one.linear), y))
    yield case("fDBD", one.detector(detectors.FDBD), fitted(peer.fDBD(None, one.linear)))
    yield case(
        "NNGuide, k = 10",
        one.detector(detectors.NNGuide, bank, k=10),
        fitted(peer.NNGuide(None, one.linear, 10), y),
    )
    noisy = replaced(one, z + 0.2 * torch.randn_like(z))
    theirs = peer.GMM(None, reg=0).fit_features(noisy.fitted.features["penultimate"], y)
    yield case(
        "GMM, no shrinkage",
        noisy.detector(detectors.GaussianMixture, {"shrinkage": 0}),
        lambda: theirs.predict_features(x),
    )
    yield case("KL matching", one.detector(detectors.KLMatching), on_logits(peer.KLMatching(None)))
    yield temperature_case(peer, one, note)
    right = one.fitted.logits.argmax(dim=1) == y
    opened = peer.OpenMax(None, tailsize=25, alpha=10).fit_logits(
        one.fitted.logits[right], y[right]
    )
    openmax = one.detector(detectors.OpenMax, {"tail": 25, "class_sample": every})
    yield case(
        "OpenMax",
        lambda: openmax().sigmoid(),
        lambda: opened.predict_logits(one.scored.logits),
        remark="ours is the log odds; the Weibull tails come from two optimizers",
    )
    yield case(
        "GradNorm",
        lambda: detectors.GradNorm()(one.scored, one.network),
        lambda: peer.GradNorm(one.linear, param_filter=lambda n: n == "weight").predict(x),
    )
    yield from activation_cases(peer, one, small)


def temperature_case(peer: Any, one: Samples, note: str) -> Case:
    """Both at their temperature, since their search ends before the optimum."""
    theirs = peer.TemperatureScaling(None).fit_logits(one.fitted.logits, one.labels)
    fitter = detectors.TemperatureScaling.fitter(sample_size=len(one.labels))
    fitter.update(one.fitted, one.labels, one.network)
    section = fitter.result()
    temperature, optimum = theirs.t.item(), section.tensors["temperature"].item()
    section.tensors["temperature"].fill_(temperature)
    ours = detectors.TemperatureScaling(StatisticsFile({section.method: section}))
    return Case(
        f"temperature scaling, {note}",
        "pytorch-ood",
        lambda: ours(one.scored.logits),
        lambda: theirs.predict_logits(one.scored.logits),
        lambda s: 1 + s,
        f"theirs is smaller by 1; at T = {temperature:.3f}, where their fit stops after 50 steps; "
        f"ours finds {optimum:.3f}",
    )


def replaced(samples: Samples, features: Tensor) -> Samples:
    """The same samples with other fitted features."""
    fitted = samples.network(features, ("penultimate",))
    return Samples(samples.network, samples.linear, fitted, samples.labels, samples.scored)


def activation_cases(peer: Any, one: Samples, small: bool) -> Iterator[Case]:
    """Scores that change activations."""
    shaping = importlib.import_module("pytorch_ood.detector.ash")
    maps = torch.rand(8 if small else 256, CHANNELS, 14, 14)
    outputs = Outputs(torch.zeros(len(maps), CLASSES), {"maps": maps})
    rank_feat = peer.RankFeat(None, lambda x: one.linear(x.mean((2, 3))))
    yield Case(
        f"RankFeat, {len(maps)} maps of {CHANNELS} x 14 x 14",
        "pytorch-ood",
        lambda: detectors.RankFeat("maps")(outputs, one.network),
        lambda: rank_feat.predict_feature_maps(maps),
    )
    vectors = torch.rand(512 if small else 4096, 512, 1, 1) + 0.1
    for variant in "pbs":
        theirs = getattr(shaping, f"ash_{variant}")
        yield Case(
            f"ASH-{variant.upper()}, 90 %, {len(vectors)} x 512",
            "pytorch-ood",
            lambda kind=variant: shape_activations(vectors, 90.0, kind.upper()),
            lambda call=theirs: call(vectors.clone(), 0.9),
        )
