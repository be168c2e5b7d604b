"""Which files of a publisher's archive belong to a set, and where they go: data, no code.

A path is matched from its end, so that it does not matter how deep an archive or a folder nests
the published tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# What may become of an image that no label belongs to.
MISSING_LABEL, KEEP, LEAVE_OUT = "missing label", "keep", "leave out"
_TRAIN_VAL = r"(?P<key>(?:train|val)/[^/]+/[^/]+)"
_TRAIN_TEST = r"(?P<key>(?:train|test)/[^/]+/[^/]+)"
_FRAME = r"\d+_[^/]+_\d{6}_\d{6}"


@dataclass(frozen=True)
class Route:
    """One kind of file.

    Attributes:
        role: what it is; 'image' and 'label' are paired by their keys.
        pattern: regular expression for the last parts of a path; its group `key` names the
            frame, its group `path`, where it has one, the published place.
        target: template (`\\g<key>`) of the place below the folder of the set; None for a file
            that is only read, or not needed.
    """

    role: str
    pattern: str
    target: str | None = r"\g<path>"


@dataclass(frozen=True)
class FileRules:
    """The files of a set.

    Attributes:
        routes: the first that fits a path counts.
        counts: role -> published number.
        gigabytes: about the unpacked size of all archives; three times this, and at least a
            gigabyte, is the most that archives may declare.
        endings: a name that ends so and fits no route is misnamed.
        unlabelled: what becomes of images without a label.
        instead_of_label: role that serves where there is no label.
        numbered: keys of labels are `NNNN_` and the key of the image.
        derive: what is made of the files: 'train_ids', 'overlays', 'outlier_lists' or nothing.
        version: of the set, where copies of another version could be mistaken for it.
    """

    routes: tuple[Route, ...]
    counts: Mapping[str, int]
    gigabytes: float
    endings: tuple[str, ...] = ()
    unlabelled: str = MISSING_LABEL
    instead_of_label: str = ""
    numbered: bool = False
    derive: str = ""
    version: str = ""

    @property
    def limit(self) -> int:
        """Bytes that the archives may declare together."""
        return int(max(1.0, 3 * self.gigabytes) * 1e9)


CITYSCAPES_FILES = FileRules(
    routes=(
        Route("image", rf"(?P<path>leftImg8bit/{_TRAIN_VAL}_leftImg8bit\.png)"),
        Route("label", rf"(?P<path>gtFine/{_TRAIN_VAL}_gtFine_labelIds\.png)"),
        Route(
            "trainIds",
            rf"(?P<path>gtFine/{_TRAIN_VAL}_gtFine_labelTrainIds\.png)",
        ),
        Route("unneeded", r"(?:leftImg8bit|gtFine)/test/[^/]+/(?P<key>[^/]+)", None),
    ),
    counts={"image": 2975 + 500, "label": 2975 + 500},
    gigabytes=13,
    endings=("_leftImg8bit.png", "_gtFine_labelIds.png"),
    instead_of_label="trainIds",
    derive="train_ids",
)

COCO_FILES = FileRules(
    routes=(
        Route("image", r"(?P<path>train2017/(?P<key>\d{12}\.jpg))"),
        Route(
            "annotations",
            r"(?P<key>instances_train2017\.json)",
            r"annotations/\g<key>",
        ),
        # Objects for validation; training does without.
        Route("validation image", r"(?P<path>val2017/(?P<key>\d{12}\.jpg))"),
        Route(
            "validation annotations",
            r"(?P<key>instances_val2017\.json)",
            r"annotations/\g<key>",
        ),
        Route("unneeded", r"panoptic_(?:train|val)2017/(?P<key>[^/]+)", None),
    ),
    counts={"image": 118287, "annotations": 1},
    gigabytes=22,
    unlabelled=KEEP,
    derive="outlier_lists",
)

FS_LOST_AND_FOUND_FILES = FileRules(
    routes=(
        Route(
            "label",
            rf"(?P<key>{_FRAME})_labels\.png",
            r"fishyscapes_lostandfound/\g<key>_labels.png",
        ),
        Route(
            "image",
            r"(?P<path>leftImg8bit/(?:train|test)/[^/]+/(?P<key>[^/]+)_leftImg8bit\.png)",
        ),
    ),
    counts={"label": 100},
    gigabytes=6,
    endings=("_labels.png",),
    unlabelled=LEAVE_OUT,
    numbered=True,
)


def static_files(version: str) -> FileRules:
    """Files of Fishyscapes Static: labels, overlays, and the Cityscapes images below them."""
    place = rf"fs_val_v{version}/\g<key>"
    return FileRules(
        routes=(
            Route("label", rf"(?P<key>{_FRAME})_labels\.png", place + "_labels.png"),
            Route("overlay", rf"(?P<key>{_FRAME})_rgb\.npz", None),
            Route("composed", rf"(?P<key>{_FRAME})_rgb\.png", place + "_rgb.png"),
            Route("image", r"leftImg8bit/[^/]+/[^/]+/(?P<key>[^/]+)_leftImg8bit\.png", None),
        ),
        counts={"label": 30},
        gigabytes=12,
        endings=("_labels.png", ".npz"),
        unlabelled=LEAVE_OUT,
        numbered=True,
        derive="overlays",
        version=version,
    )


ROAD_ANOMALY_FILES = FileRules(
    routes=(
        Route("label", r"(?P<path>frames/(?P<key>[^/]+)\.labels/labels_semantic\.png)"),
        Route("image", r"(?P<path>frames/(?P<key>[^/]+)\.(?:jpg|jpeg|png|webp))"),
        Route("list", r"(?P<path>(?P<key>frame_list\.json))"),
    ),
    counts={"image": 60, "label": 60, "list": 1},
    gigabytes=0.1,
    endings=("labels_semantic.png",),
)

LOST_AND_FOUND_FILES = FileRules(
    routes=(
        Route(
            "image",
            rf"(?P<path>leftImg8bit/{_TRAIN_TEST}_leftImg8bit\.(?:png|jpg|webp))",
        ),
        Route(
            "label",
            rf"(?P<path>gtCoarse/{_TRAIN_TEST}_gtCoarse_labelTrainIds\.png)",
        ),
        Route(
            "labelIds",
            rf"(?P<path>gtCoarse/{_TRAIN_TEST}_gtCoarse_labelIds\.png)",
        ),
    ),
    counts={"image": 1036 + 1203, "label": 1036 + 1203, "labelIds": 1036 + 1203},
    gigabytes=6.5,
    endings=("_leftImg8bit.png", "_gtCoarse_labelTrainIds.png", "_gtCoarse_labelIds.png"),
)


def smiyc_files(num_labels: int, gigabytes: float) -> FileRules:
    """Files of a SegmentMeIfYouCan track; images without a label are those of its hidden test."""
    return FileRules(
        routes=(
            Route("image", r"(?P<path>images/(?P<key>[^/]+)\.(?:jpg|webp|png))"),
            Route("label", r"(?P<path>labels_masks/(?P<key>[^/]+)_labels_semantic\.png)"),
        ),
        counts={"label": num_labels},
        gigabytes=gigabytes,
        endings=("_labels_semantic.png",),
        unlabelled=KEEP,
    )


STREET_HAZARDS_FILES = FileRules(
    routes=(
        Route("image", r"images/test/(?P<key>[^/]+/[^/]+)\.png", r"test/images/test/\g<key>.png"),
        Route(
            "label",
            r"annotations/test/(?P<key>[^/]+/[^/]+)\.png",
            r"test/annotations/test/\g<key>.png",
        ),
        Route("unneeded", r"(?P<key>(?:images|annotations)/(?:training|validation)/.+)", None),
    ),
    counts={"image": 1500, "label": 1500},
    gigabytes=5,
)
