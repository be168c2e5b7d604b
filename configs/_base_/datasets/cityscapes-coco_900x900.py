# Training as published with PEBAL: an epoch is the 2975 clean Cityscapes scenes and 297 more, each
# with the objects of one COCO image, drawn again every epoch; 3272 samples, 409 batches of 8.
# Objects keep their size and are pasted anywhere in the 2048x1024 scene, which is then augmented.
# Validation: every fifth scene of Cityscapes val with objects of COCO val2017.
data_root = "{{$OOD_SEG_DATA:data}}/"
coco_objects = dict(
    type="CocoObjects",
    ann_file=data_root + "coco/annotations/instances_train2017.json",
    img_dir=data_root + "coco/train2017",
    # All objects of an image in their layout; images with Cityscapes classes are left out.
    union=True,
    min_image_size=480,
    min_area=1,
)
augmentation = [
    dict(type="RandomFlip", prob=0.5),
    dict(
        type="RandomChoice",
        transforms=[
            [dict(type="Resize", scale_factor=factor, keep_ratio=True)]
            for factor in (0.5, 0.75, 1.0, 1.5, 1.75, 2.0)
        ],
    ),
    # BGR of the mean colour: zero after normalisation.
    dict(type="CropOrPad", size=(900, 900), pad_value=(103.53, 116.28, 123.675)),
    dict(type="PackSegInputs"),
]
clean_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedLabels", num_classes=19),
    *augmentation,
]
pasted_pipeline = [
    *clean_pipeline[:2],
    dict(type="PasteOutliers", source=coco_objects, count=1, flip_probability=0.0),
    *augmentation,
]
cityscapes_train = dict(
    type="CityscapesDataset",
    data_root=data_root + "cityscapes",
    data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
)
train_dataloader = dict(
    batch_size=8,  # of all processes together: 8 / N on each of N GPUs
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type="StreamSampler"),
    dataset=dict(
        type="SeededSamples",
        dataset=dict(
            type="OutlierMix",
            clean=dict(cityscapes_train, pipeline=clean_pipeline),
            pasted=dict(cityscapes_train, pipeline=pasted_pipeline),
            num_pasted=297,
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CityscapesDataset",
        data_root=data_root + "cityscapes",
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        indices=list(range(0, 500, 5)),
        pipeline=[
            *clean_pipeline[:2],
            dict(
                type="PasteOutliers",
                source=dict(
                    coco_objects,
                    ann_file=data_root + "coco/annotations/instances_val2017.json",
                    img_dir=data_root + "coco/val2017",
                ),
                count=1,
                flip_probability=0.0,
                seed=0,
            ),
            dict(type="PackSegInputs"),
        ],
    ),
)
val_evaluator = [
    dict(
        type="AnomalyMetric", label_space="training", dataset_name="Cityscapes val + COCO val2017"
    ),
    dict(type="KnownIoUMetric", iou_metrics=["mIoU"], per_class_table=False),
]
val_cfg = dict(type="ValLoop")
