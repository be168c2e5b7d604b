"""The outlier prior as a file and the published one: how often each class is seen in outliers.

`P(j)` is the share of outlier pixels in which the pre-trained model sees class j. It is measured
with the model that is fine-tuned (`ood-seg estimate-outlier-prior`, `OutlierPriorHook`); the
published one belongs to DeepLabV3+ with WideResNet38.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ood_seg.io.files import write_text
from ood_seg.labels import CITYSCAPES_CLASSES

SCHEMA = "ood_seg.outlier_prior/1"

# The literal in the code released with Choi et al., CVPR 2023; Cityscapes classes in the order of
# their train ids, 10000 scenes with pasted COCO objects, DeepLabV3+ with WideResNet38.
CITYSCAPES_COCO_WRN38 = (
    0.152509041, 0.013298, 0.106703, 0.040058, 0.033866, 0.005256, 0.001065, 0.027989, 0.080249,
    0.097971, 0.002175, 0.153123, 0.029222, 0.087057, 0.119925, 0.016023, 0.007071, 0.017048,
    0.009393,
)  # fmt: skip


@dataclass(frozen=True)
class OutlierPrior:
    """A prior and where it comes from.

    Attributes:
        prior: one number a class, `(C,)`, sums to one.
        classes: name of each class.
        counts: outlier pixels by predicted class, where they were counted.
        origin: what else the file says: model, data, number of images, seed.
    """

    prior: tuple[float, ...]
    classes: tuple[str, ...]
    counts: tuple[int, ...] | None = None
    origin: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_counts(
        cls, counts: Sequence[int], classes: Sequence[str], **origin: Any
    ) -> OutlierPrior:
        """Normalise counts.

        Raises:
            ValueError: another number of counts than of classes, negative counts, or all zeros.
        """
        values = tuple(int(count) for count in counts)
        if len(values) != len(classes):
            raise ValueError(
                f"the outlier prior has {len(values)} counts for {len(classes)} classes; measure "
                "it with the model and the data set that are used together"
            )
        if min(values, default=0) < 0 or not sum(values):
            raise ValueError(f"counts of the outlier prior must be >= 0 and not all 0: {values}")
        total = sum(values)
        return cls(tuple(value / total for value in values), tuple(classes), values, origin)

    def check_classes(self, classes: Sequence[str], *, origin: str) -> None:
        """Raise unless the prior was measured over these classes, in this order.

        Raises:
            ValueError: names the first class that differs.
        """
        if tuple(classes) == self.classes:
            return
        pairs = zip(self.classes, classes, strict=False)
        place = next((i for i, (own, other) in enumerate(pairs) if own != other), None)
        what = (
            f"{len(self.classes)} classes, expected {len(classes)}"
            if place is None
            else f"{self.classes[place]!r} as class {place}, expected {classes[place]!r}"
        )
        raise ValueError(
            f"outlier prior {origin} belongs to other classes: it has {what}; measure one with "
            "`ood-seg estimate-outlier-prior CONFIG CHECKPOINT`"
        )


SHIPPED = {"cityscapes-coco-wrn38": OutlierPrior(CITYSCAPES_COCO_WRN38, CITYSCAPES_CLASSES)}


def find_prior(source: str | Path) -> OutlierPrior:
    """Return a shipped prior by its name, or read one from a JSON file.

    Raises:
        FileNotFoundError: neither a name nor a file; lists the names.
        ValueError: see `read_prior`.
    """
    if str(source) in SHIPPED:
        return SHIPPED[str(source)]
    if not Path(source).is_file():
        raise FileNotFoundError(
            f"outlier prior {str(source)!r} is neither a file nor a shipped one "
            f"({', '.join(SHIPPED)}); `ood-seg estimate-outlier-prior` writes the file"
        )
    return read_prior(source)


def write_prior(path: str | Path, prior: OutlierPrior) -> None:
    """Write a prior as JSON; the file appears whole or not at all."""
    content = {
        "schema": SCHEMA,
        "prior": list(prior.prior),
        "counts": None if prior.counts is None else list(prior.counts),
        "classes": list(prior.classes),
        **prior.origin,
    }
    write_text(Path(path), json.dumps(content, indent=2) + "\n")


def read_prior(path: str | Path) -> OutlierPrior:
    """Read a prior that `write_prior` wrote.

    Raises:
        ValueError: no JSON of this schema, or numbers that are no distribution over its classes.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no JSON file ({error}); expected an outlier prior") from error
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(
            f"{path} is no outlier prior: expected a JSON object with schema {SCHEMA!r}; "
            "`ood-seg estimate-outlier-prior` writes one"
        )
    origin = {k: v for k, v in content.items() if k not in ("schema", "prior", "counts", "classes")}
    try:
        values = np.asarray(content["prior"], dtype=float)
        classes = tuple(map(str, content["classes"]))
        counts = content.get("counts")
        counts = None if counts is None else tuple(map(int, counts))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: entry prior, classes or counts is missing or wrong") from error
    if values.shape != (len(classes),) or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(
            f"{path}: prior must hold one finite number >= 0 for each of its {len(classes)} "
            f"classes, got {content['prior']}"
        )
    if abs(values.sum() - 1) > 1e-3:
        raise ValueError(f"{path}: prior must sum to 1, got {values.sum():.4f}")
    return OutlierPrior(tuple(values.tolist()), classes, counts, origin)
