"""Ready-made scores by name: their configs, without the statistics file."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ood_seg.spelling import close_first, did_you_mean

# Stands for the last of the feature layers that a classification network names.
LAST_FEATURES = "last feature layer"
READY_MADE: Mapping[str, Mapping[str, Any]] = {
    "max-softmax": {"type": "MaxSoftmax"},
    "max-logit": {"type": "MaxLogit"},
    "entropy": {"type": "Entropy"},
    "energy": {"type": "Energy"},
    "gen": {"type": "GeneralizedEntropy"},
    "temperature-scaling": {"type": "TemperatureScaling"},
    "weighted-energy": {"type": "WeightedEnergy"},
    "openmax": {"type": "OpenMax"},
    "odin": {"type": "ODIN"},
    "kl-matching": {"type": "KLMatching"},
    "sml": {"type": "StandardizedMaxLogit"},
    "mahalanobis": {"type": "Mahalanobis"},
    "relative-mahalanobis": {"type": "RelativeMahalanobis"},
    "multi-mahalanobis": {"type": "MultiLayerMahalanobis"},
    "gmm": {"type": "GaussianMixture"},
    "knn": {"type": "NearestNeighbours"},
    "nnguide": {"type": "NNGuide"},
    "vim": {"type": "VirtualLogit"},
    "react": {"type": "ReAct"},
    "vra": {"type": "VRA"},
    "ash-s": {"type": "ASH", "variant": "S"},
    "ash-b": {"type": "ASH", "variant": "B"},
    "ash-p": {"type": "ASH", "variant": "P"},
    "scale": {"type": "SCALE"},
    "dice": {"type": "DICE"},
    "she": {"type": "SHE"},
    "fdbd": {"type": "FDBD"},
    "gradnorm": {"type": "GradNorm"},
    "rankfeat": {"type": "RankFeat"},
    "dsn": {"type": "EmbeddingDensity", "combine": "single"},
    "dmn": {"type": "EmbeddingDensity", "combine": "minimum"},
    "dlr": {"type": "EmbeddingDensity", "combine": "logistic"},
    "mc-dropout": {"type": "MCDropout"},
    "mc-dropout-mi": {"type": "MCDropout", "score": "mutual-information"},
}
# For image-level networks, in addition or instead: a score of whole images alone, one without its
# steps on maps, and one that reads the map before the pooling.
IMAGE_LEVEL: Mapping[str, Mapping[str, Any]] = {
    "sml": {
        "type": "StandardizedMaxLogit",
        "boundary_suppression": False,
        "dilated_smoothing": False,
    },
    "rankfeat": {"type": "RankFeat", "layer": LAST_FEATURES},
    "gram": {"type": "GramMatrices"},
}
ALL = "all"
_NAME = re.compile(r"[\w.+()=,-]+")


def ready_made(names: Sequence[str], *, image_level: bool = False) -> dict[str, dict[str, Any]]:
    """Configs of the named scores, in order; `all` means every one.

    Args:
        names: of the scores.
        image_level: also those of image-level networks alone.

    Raises:
        ValueError: an unknown name; the known ones are listed, similar ones first.
    """
    known = {**READY_MADE, **(IMAGE_LEVEL if image_level else {})}
    found = {}
    for name in dict.fromkeys(known if ALL in names else names):
        if name not in known:
            raise ValueError(
                f"scores: {name!r} is not ready-made{did_you_mean(name, known)}; "
                f"available: {', '.join(close_first(name, known))}. "
                """Give others by --score 'NAME={"type": ...}'"""
            )
        found[name] = copy.deepcopy(dict(known[name]))
    return found


def parse_configs(texts: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Configs of scores by name, from texts such as `energy-2={"type": "Energy"}`.

    Raises:
        ValueError: a text of another form, a bad name, or a name twice.
    """
    form = 'NAME={"type": ...} with JSON as its config'
    found = {}
    for name, text in parse_names(texts, "--score", form).items():
        try:
            config = json.loads(text)
        except json.JSONDecodeError:
            config = None
        if not isinstance(config, dict) or "type" not in config:
            raise ValueError(f"--score: expected {form}, got {name}={text}")
        found[name] = config
    return found


def parse_names(texts: Sequence[str], option: str, form: str) -> dict[str, str]:
    """Values by name, from texts `NAME=VALUE`; `option` and `form` are named in errors.

    Raises:
        ValueError: a text of another form, a bad name, or a name twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not value:
            raise ValueError(f"{option}: expected {form}, got {text!r}")
        if check_name(name) in found:
            raise ValueError(f"{option}: the name {name!r} is taken; choose another")
        found[name] = value
    return found


def check_name(name: str) -> str:
    """Return a name if it can be the name of a file.

    Raises:
        ValueError: it has other characters than those below, or starts with a dot.
    """
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise ValueError(
            "the name of a score consists of letters, digits and . _ + - ( ) = , and does not "
            f"start with a dot, got {name!r}"
        )
    return name
