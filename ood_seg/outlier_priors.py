"""Outlier priors: files, and the published prior that is shipped with the package.

`P(j)` is the share of outlier pixels that the pre-trained model classifies as class j. It must be
measured with the model that is fine-tuned (`ood-seg estimate-outlier-prior`, `OutlierPriorHook`);
the published one was measured with DeepLabV3+ and WideResNet38.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ood_seg.io.fields import Fields
from ood_seg.io.files import write_text
from ood_seg.io.json_files import is_number, read_json
from ood_seg.labels import CITYSCAPES_CLASSES

SCHEMA = "ood_seg.outlier_prior/1"

# Copied from the code released with Choi et al., CVPR 2023: Cityscapes classes in the order of
# their train ids, 10000 scenes with pasted COCO objects, DeepLabV3+ with WideResNet38.
CITYSCAPES_COCO_WRN38 = (
    0.152509041, 0.013298, 0.106703, 0.040058, 0.033866, 0.005256, 0.001065, 0.027989, 0.080249,
    0.097971, 0.002175, 0.153123, 0.029222, 0.087057, 0.119925, 0.016023, 0.007071, 0.017048,
    0.009393,
)  # fmt: skip


@dataclass(frozen=True)
class OutlierPrior:
    """A prior and its provenance.

    Attributes:
        prior: one number per class, `(C,)`, with sum 1.
        classes: name of each class.
        counts: number of outlier pixels by predicted class; None if unknown.
        origin: other entries of the file: model, data, number of images, seed.
    """

    prior: tuple[float, ...]
    classes: tuple[str, ...]
    counts: tuple[int, ...] | None = None
    origin: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_counts(
        cls, counts: Sequence[int], classes: Sequence[str], **origin: Any
    ) -> OutlierPrior:
        """The prior of pixel counts.

        Args:
            counts: number of outlier pixels by predicted class.
            classes: name of each class.
            **origin: provenance, see the class.

        Raises:
            ValueError: counts and classes differ in number, or the counts are no integers,
                negative or all 0.
        """
        given = tuple(counts)
        if len(given) != len(classes):
            raise ValueError(
                f"the outlier prior has {len(given)} counts for {len(classes)} classes; measure "
                "it with the model and the dataset of the fine-tuning"
            )
        if not all(is_number(count) and 0 <= count == int(count) for count in map(float, given)):
            raise ValueError(f"counts of the outlier prior must be integers >= 0, got {given}")
        values = tuple(map(int, given))
        total = sum(values)
        if not total:
            raise ValueError(f"counts of the outlier prior must not all be 0: {given}")
        return cls(tuple(value / total for value in values), tuple(classes), values, origin)

    def check_classes(self, classes: Sequence[str], *, origin: str) -> None:
        """Raise unless the prior was measured over these classes, in this order.

        Args:
            classes: expected names.
            origin: name of the prior, for the message.

        Raises:
            ValueError: the classes differ; the message gives the first difference.
        """
        if tuple(classes) == self.classes:
            return
        pairs = zip(self.classes, classes, strict=False)
        index = next((i for i, (own, other) in enumerate(pairs) if own != other), None)
        difference = (
            f"{len(self.classes)} classes, expected {len(classes)}"
            if index is None
            else f"{self.classes[index]!r} as class {index}, expected {classes[index]!r}"
        )
        raise ValueError(
            f"outlier prior {origin} has other classes than the model: {difference}; measure one "
            "with `ood-seg estimate-outlier-prior CONFIG CHECKPOINT`"
        )


SHIPPED = {"cityscapes-coco-wrn38": OutlierPrior(CITYSCAPES_COCO_WRN38, CITYSCAPES_CLASSES)}


def find_prior(source: str | Path) -> OutlierPrior:
    """A shipped prior by its name, or the prior of a JSON file.

    Raises:
        FileNotFoundError: `source` is neither a file nor a name in `SHIPPED`.
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
    """Write a prior as JSON, atomically."""
    content = {
        "schema": SCHEMA,
        "prior": list(prior.prior),
        "counts": None if prior.counts is None else list(prior.counts),
        "classes": list(prior.classes),
        **prior.origin,
    }
    write_text(Path(path), json.dumps(content, indent=2) + "\n")


def read_prior(path: str | Path) -> OutlierPrior:
    """Read a file of `write_prior`.

    Raises:
        ValueError: the file is not JSON of this schema, or its numbers are not a distribution
            over its classes; names the entry.
    """
    content = read_json(Path(path))
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(
            f"{path} is not an outlier prior: expected a JSON object with schema {SCHEMA!r}; "
            "`ood-seg estimate-outlier-prior` writes one"
        )
    fields = Fields({"counts": None, **content}, str(path))
    classes, prior = fields.texts("classes"), fields.numbers("prior", 0)
    counts = None if fields.value("counts") is None else fields.counts("counts")
    for name, values in (("prior", prior), ("counts", counts)):
        if values is not None and len(values) != len(classes):
            raise fields.wrong(name, f"one number for each of the {len(classes)} classes")
    if abs(sum(prior) - 1) > 1e-3:
        raise ValueError(f"{path}: 'prior' must sum to 1, got {sum(prior):.4g}")
    if counts is not None and not sum(counts):
        raise fields.wrong("counts", "above 0 somewhere")
    origin = {k: v for k, v in content.items() if k not in ("schema", "prior", "counts", "classes")}
    return OutlierPrior(prior, classes, counts, origin)
