"""Label values as datasets store them, and their meaning in training and in evaluation.

The keys of each map are raw values on disk. A value that is not a key is unknown: loading it is
an error, because a label image with an unexpected value is usually the wrong file.
"""

from __future__ import annotations

from collections.abc import Mapping

from ood_seg.labels import ANOMALY, IGNORE, KNOWN

# CamVid in the SegNet split: sky, building, pole, road, pavement, tree, sign, fence, car,
# pedestrian, bicyclist, void. Bicyclist is rider and bicycle in one; it is taken as rider.
CAMVID_TO_TRAIN_IDS: dict[int, int] = {
    0: 10,
    1: 2,
    2: 5,
    3: 0,
    4: 1,
    5: 8,
    6: 7,
    7: 4,
    8: 13,
    9: 11,
    10: 12,
    11: IGNORE,
}

_CITYSCAPES_TRAINED_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)

# The 34 label ids of Cityscapes (also KITTI's): 19 are trained, all others are ignored.
CITYSCAPES_IDS_TO_TRAIN_IDS: dict[int, int] = {
    **dict.fromkeys(range(34), IGNORE),
    **{label_id: train_id for train_id, label_id in enumerate(_CITYSCAPES_TRAINED_IDS)},
}

TRAIN_IDS: dict[int, int] = {**{train_id: train_id for train_id in range(19)}, IGNORE: IGNORE}

EVALUATION_LABELS: dict[int, int] = {KNOWN: KNOWN, ANOMALY: ANOMALY, IGNORE: IGNORE}

# The published Road Anomaly masks: 0 is known, 2 and above anomalous; nothing is ignored.
ROAD_ANOMALY_LABELS: dict[int, int] = {0: KNOWN, **dict.fromkeys(range(2, IGNORE), ANOMALY)}

# Processed copies write anomalies as 1; some keep the published 2.
PROCESSED_ROAD_ANOMALY_LABELS: dict[int, int] = {**EVALUATION_LABELS, 2: ANOMALY}

# Lost and Found. TrainIds: 1 is free road, 2 an obstacle; 0 is all that was not labelled.
LOST_AND_FOUND_TRAIN_IDS: dict[int, int] = {0: IGNORE, 1: KNOWN, 2: ANOMALY, IGNORE: IGNORE}
# Ids: 0 is not labelled, 1 free road, each kind of obstacle has a number of its own from 2 on.
# 200 is the bound of the SegmentMeIfYouCan benchmark; about 42 kinds occur.
LOST_AND_FOUND_IDS: dict[int, int] = {
    0: IGNORE,
    1: KNOWN,
    **dict.fromkeys(range(2, 201), ANOMALY),
    IGNORE: IGNORE,
}

# StreetHazards stores each class number plus one: 1 unlabelled, 2 building, ... 13 traffic sign,
# 14 anomaly. Its own evaluation takes all but 14 as known, the unlabelled pixels too.
STREET_HAZARDS_LABELS: dict[int, int] = {**dict.fromkeys(range(1, 14), KNOWN), 14: ANOMALY}


def checked_label_map(label_map: Mapping, allowed: frozenset[int] | None = None) -> dict[int, int]:
    """Return `label_map` with integer keys and values, checked.

    Args:
        label_map: raw value on disk -> value in the loaded labels. Numbers written as strings
            (as JSON and the command line give them) are accepted.
        allowed: labels that the map may have; None allows 0..255.

    Raises:
        ValueError: not a mapping, empty, not integers, or outside 0..255 or `allowed`.
    """
    example = "for example {0: 0, 1: 1, 255: 255}"
    if not isinstance(label_map, Mapping) or not label_map:
        raise ValueError(f"label_map: expected raw value -> label, {example}; got {label_map!r}")
    try:
        checked = {int(raw): int(label) for raw, label in label_map.items()}
    except (TypeError, ValueError):
        raise ValueError(f"label_map: expected integers, {example}; got {label_map!r}") from None
    allowed = frozenset(range(256)) if allowed is None else allowed
    wrong_raw = sorted(raw for raw in checked if not 0 <= raw <= 255)
    wrong_labels = sorted(set(checked.values()) - allowed)
    if wrong_raw or wrong_labels:
        right = "0..255" if len(allowed) == 256 else sorted(allowed)
        raise ValueError(
            f"label_map: expected raw values in 0..255 and labels in {right}, {example}; "
            f"got raw values {wrong_raw} and labels {wrong_labels}"
        )
    return checked
