# The data of cityscapes-coco_900x900.py as the released code of PEBAL and Balanced Energy draws
# them, with its errors; docs/recipes.md explains each.
_base_ = "./cityscapes-coco_900x900.py"
augmentation = [
    dict(type="RandomFlip", prob=0.8),
    _base_.augmentation[1],
    dict(_base_.augmentation[2], overrun=1),
    _base_.augmentation[3],
]
coco_objects = dict(
    _base_.coco_objects,
    # "train" is missing, so trains are pasted as outliers.
    exclude=(
        "person",
        "bicycle",
        "car",
        "motorcycle",
        "bus",
        "truck",
        "traffic light",
        "stop sign",
    ),
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            clean=dict(pipeline=[*_base_.clean_pipeline[:2], *augmentation]),
            pasted=dict(
                pipeline=[
                    *_base_.pasted_pipeline[:2],
                    dict(
                        _base_.pasted_pipeline[2],
                        source=coco_objects,
                        raw_probability=1 / 2976,
                    ),
                    *augmentation,
                ],
            ),
        ),
    ),
)
