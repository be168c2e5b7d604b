"""Long-tailed versions of a balanced dataset."""

from __future__ import annotations


def long_tailed_counts(largest: int, num_classes: int, factor: float) -> list[int]:
    """Images of each class: `largest * factor^(c / (C - 1))`, rounded down.

    With 5000 images, 10 classes and a factor of 0.01 these are the published counts of CIFAR-10-LT,
    5000, 2997, 1796, 1077 ... 50, 12,406 in all.

    Source: Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, and
    the code released with Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware
    Margin Loss", NeurIPS 2019.

    Args:
        largest: images of the first class, the most frequent one.
        num_classes: C.
        factor: of the last class to the first, above 0 and at most 1.

    Raises:
        ValueError: the factor is out of range, or leaves a class without an image.
    """
    if not 0 < factor <= 1:
        raise ValueError(
            f"imbalance is the share of the rarest class in the most frequent one, above 0 and at "
            f"most 1 (0.01 for 100 to 1), got {factor}"
        )
    last = max(num_classes - 1, 1)
    counts = [int(largest * factor ** (index / last)) for index in range(num_classes)]
    if 0 in counts:
        raise ValueError(
            f"imbalance {factor} leaves class {counts.index(0)} of {num_classes} without an image, "
            f"as the first has {largest}; give a larger factor"
        )
    return counts
