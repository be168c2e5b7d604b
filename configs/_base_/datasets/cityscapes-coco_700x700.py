# Training as published with RPL: each of the 2975 Cityscapes scenes is cropped at its own scale,
# then the objects of one COCO image are scaled and pasted; 371 batches of 8 an epoch.
# Validation: as in cityscapes-coco_900x900.py.
_base_ = "./cityscapes-coco_900x900.py"
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type="SeededSamples",
        dataset=dict(
            _base_.cityscapes_train,
            pipeline=[
                *_base_.clean_pipeline[:2],
                dict(type="RandomFlip", prob=0.5),
                dict(type="CropOrPad", size=(700, 700), pad_value=(103.53, 116.28, 123.675)),
                dict(
                    type="PasteOutliers",
                    source=_base_.coco_objects,
                    count=1,
                    scales=(0.25, 0.5, 0.5, 0.75, 0.1, 0.125),
                    flip_probability=0.0,
                ),
                dict(type="PackSegInputs"),
            ],
        ),
    ),
)
