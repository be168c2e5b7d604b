"""Choice of the input perturbation of a score from known images alone.

Source: Hsu, Shen, Jin and Kira, "Generalized ODIN: Detecting Out-of-distribution Image without
Learning from Out-of-distribution Data", CVPR 2020, section 3.3: the epsilon that maximises the sum
of the confidence over known images that were not trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor, no_grad

from ood_seg.detectors import ODIN, Detector, Mahalanobis, Network, StatisticsFile
from ood_seg.engine.fit_data import FIT, FitData
from ood_seg.engine.runner import load_config, set_up_process
from ood_seg.models.detector_scores import network_of, network_scores
from ood_seg.models.loading import load_model
from ood_seg.spelling import did_you_mean

# The grids of the released code of ODIN, and of that of Lee et al., NeurIPS 2018.
EPSILONS = {
    "odin": (0.0, 0.0004, 0.0008, 0.0014, 0.002, 0.0024, 0.0028, 0.0032, 0.0038, 0.0048),
    "mahalanobis": (0.0, 0.0005, 0.001, 0.0014, 0.002, 0.005, 0.01),
}


def choose_epsilon(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    *,
    score: str = "odin",
    epsilons: Sequence[float] | None = None,
    temperature: float = 1000.0,
    statistics: str | Path | None = None,
    data: Sequence[str] = (FIT,),
    num_images: int | None = None,
) -> dict[str, Any]:
    """Choose the epsilon of a score from known images alone, as `ood-seg choose-epsilon` does.

    Args:
        config: path of a file, name of a shipped config, or a config.
        checkpoint: file; None: the config's `load_from`.
        score: `odin` or `mahalanobis`.
        epsilons: candidates; None: the published ones, `EPSILONS`.
        temperature: of ODIN.
        statistics: file of `ood-seg fit`, for Mahalanobis.
        data: names of known data, see `FitData`; at best images that were not trained on.
        num_images: a seeded choice of so many images of each of `data`; None: all.

    Returns:
        `score`, `epsilon` (the chosen one), `confidences` (of each candidate), `images`, and
        `config`, that of the score with the chosen epsilon.

    Raises:
        FileNotFoundError: config, checkpoint or statistics do not exist.
        ValueError: another score, no candidate, a negative one, or missing statistics.
    """
    if score not in EPSILONS:
        raise ValueError(
            f"score: expected one of {', '.join(EPSILONS)}, got {score!r}"
            f"{did_you_mean(score, EPSILONS)}"
        )
    candidates = sorted(set(EPSILONS[score] if epsilons is None else epsilons))
    if not candidates:
        raise ValueError("epsilons: expected at least one candidate, got none")
    make, options = _score(score, temperature, statistics)
    detectors = {epsilon: make(epsilon) for epsilon in candidates}
    cfg = load_config(config)
    seed = set_up_process(cfg)
    model = load_model(cfg, checkpoint, plain_score=True)
    network = network_of(model)
    for detector in detectors.values():
        detector.to(next(model.parameters()).device).eval()
        if isinstance(detector, Mahalanobis):
            detector.check_model(network)
    source = FitData(cfg, data, num_images=num_images, pasted=0, seed=seed)
    with source.batches(model, {}) as batches:
        found = mean_confidences(detectors, network, (images for images, _ in batches))
    chosen = min(found, key=lambda epsilon: (-found[epsilon], epsilon))  # of equals the smallest
    return {
        "score": score,
        "epsilon": chosen,
        "confidences": {f"{epsilon:g}": value for epsilon, value in found.items()},
        "images": sum(source.counts.values()),
        "left_out": source.left_out(),
        "config": {**options, "epsilon": chosen},
    }


def _score(
    name: str, temperature: float, statistics: str | Path | None
) -> tuple[Callable[[float], Detector], dict[str, Any]]:
    """Builds the score from an epsilon, and its other options in a config."""
    if name == "odin":
        options = {"type": "ODIN", "temperature": temperature}
        return lambda epsilon: ODIN(temperature, epsilon), options
    if statistics is None:
        raise ValueError(f"{name} needs --statistics, a file of `ood-seg fit`")
    file = StatisticsFile.load(statistics)
    options = {"type": "Mahalanobis", "statistics": str(statistics)}
    return lambda epsilon: Mahalanobis(file, epsilon), options


@no_grad()
def mean_confidences(
    detectors: Mapping[float, Detector], network: Network, batches: Iterable[Tensor]
) -> dict[float, float]:
    """Mean of `-score` over the images; of a dense network, the mean over the pixels of each.

    Args:
        detectors: the same score with each epsilon, by epsilon.
        network: in evaluation mode.
        batches: prepared known images `(N, 3, *)`.

    Returns:
        By epsilon.

    Raises:
        ValueError: there is no image.
    """
    sums, count = dict.fromkeys(detectors, 0.0), 0
    for images in batches:
        for epsilon, detector in detectors.items():
            _, scores = network_scores(detector, network, images)
            sums[epsilon] -= float(scores.double().reshape(len(images), -1).mean(dim=1).sum())
        count += len(images)
    if not count:
        raise ValueError("there is no known image to choose epsilon on")
    return {epsilon: total / count for epsilon, total in sums.items()}
