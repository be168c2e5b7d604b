"""Ready-made scores by name: what a config would say, without the file of statistics."""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

READY_MADE: Mapping[str, Mapping[str, Any]] = {
    "max-softmax": {"type": "MaxSoftmax"},
    "max-logit": {"type": "MaxLogit"},
    "entropy": {"type": "Entropy"},
    "energy": {"type": "Energy"},
    "gen": {"type": "GeneralizedEntropy"},
    "odin": {"type": "ODIN"},
    "kl-matching": {"type": "KLMatching"},
    "sml": {"type": "StandardizedMaxLogit"},
    "mahalanobis": {"type": "Mahalanobis"},
    "relative-mahalanobis": {"type": "RelativeMahalanobis"},
    "knn": {"type": "NearestNeighbours"},
    "vim": {"type": "VirtualLogit"},
    "react": {"type": "ReAct"},
    "ash-s": {"type": "ASH", "variant": "S"},
    "ash-b": {"type": "ASH", "variant": "B"},
    "ash-p": {"type": "ASH", "variant": "P"},
    "scale": {"type": "SCALE"},
    "dsn": {"type": "EmbeddingDensity", "combine": "single"},
    "dmn": {"type": "EmbeddingDensity", "combine": "minimum"},
    "dlr": {"type": "EmbeddingDensity", "combine": "logistic"},
    "mc-dropout": {"type": "MCDropout"},
    "mc-dropout-mi": {"type": "MCDropout", "score": "mutual-information"},
}
ALL = "all"
_NAME = re.compile(r"[\w.+()=,-]+")


def ready_made(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Configs of the named scores, in order; `all` stands for every one.

    Raises:
        ValueError: a name is not known; those that are, are listed, likely ones first.
    """
    found = {}
    for name in dict.fromkeys(READY_MADE if ALL in names else names):
        if name not in READY_MADE:
            close = difflib.get_close_matches(name, READY_MADE, n=3, cutoff=0.5)
            others = [other for other in READY_MADE if other not in close]
            raise ValueError(
                f"there is no ready-made score {name!r}; there are {', '.join([*close, *others])}. "
                """Others go by --score 'NAME={"type": ...}'"""
            )
        found[name] = copy.deepcopy(dict(READY_MADE[name]))
    return found


def check_name(name: str) -> str:
    """A name that can stand in a table and be a file's.

    Raises:
        ValueError: it cannot.
    """
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise ValueError(
            f"a score's name is made of letters, digits and . _ + - ( ) = , and does not start "
            f"with a dot, got {name!r}"
        )
    return name
