# The drawn data of `ood-seg demo`, in the layouts of the real sets: crops for training without
# outliers, validation with objects that training never pastes, and the three test sets.
data_root = "{{$OOD_SEG_DEMO:demo_output}}/data/"
coco_objects = dict(
    type="CocoObjects",
    ann_file=data_root + "coco/annotations/instances.json",
    img_dir=data_root + "coco/train",
    min_area=300,
    holdout_every=5,
    cache_size=400,
)
train_dataloader = dict(
    batch_size=4,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="StreamSampler"),
    dataset=dict(
        type="SeededSamples",
        dataset=dict(
            type="CityscapesDataset",
            data_root=data_root + "cityscapes",
            data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
            pipeline=[
                dict(type="LoadCheckedImage"),
                dict(type="LoadCheckedLabels", num_classes=19),
                dict(
                    type="RandomResize", scale=(320, 160), ratio_range=(1.0, 1.25), keep_ratio=True
                ),
                dict(type="RandomCrop", crop_size=(160, 160)),
                dict(type="RandomFlip", prob=0.5),
                dict(type="PackSegInputs"),
            ],
        ),
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CityscapesDataset",
        data_root=data_root + "cityscapes",
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
        pipeline=[
            dict(type="LoadCheckedImage"),
            dict(type="LoadCheckedLabels", num_classes=19),
            dict(
                type="PasteOutliers",
                source=dict(coco_objects, holdout=True),
                count=(1, 2),
                size_range=(14, 60),
                seed=0,
            ),
            dict(type="PackSegInputs"),
        ],
    ),
)
val_evaluator = [
    dict(type="AnomalyMetric", label_space="training", dataset_name="val + held-back objects"),
    dict(type="KnownIoUMetric", iou_metrics=["mIoU"], per_class_table=False),
]
val_cfg = dict(type="ValLoop")
test_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedLabels"),
    dict(type="PackSegInputs"),
]
test_dataloader = dict(
    road_anomaly=dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="RoadAnomalyDataset",
            data_root=data_root + "road_anomaly",
            expected_count=None,
            pipeline=test_pipeline,
        ),
    ),
    fishyscapes=dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="AnomalyFolderDataset",
            data_root=data_root + "fishyscapes",
            data_prefix=dict(img_path="images", seg_map_path="labels_masks"),
            label_map={0: 0, 1: 1, 255: 255},
            pipeline=test_pipeline,
        ),
    ),
    cityscapes=dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="CityscapesDataset",
            data_root=data_root + "cityscapes",
            data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
            pipeline=[
                dict(type="LoadCheckedImage"),
                dict(type="LoadCheckedLabels", num_classes=19),
                dict(type="PackSegInputs"),
            ],
        ),
    ),
)
test_evaluator = dict(
    road_anomaly=[dict(type="AnomalyMetric", dataset_name="drawn Road Anomaly")],
    fishyscapes=[dict(type="AnomalyMetric", dataset_name="drawn Fishyscapes")],
    cityscapes=[dict(type="KnownIoUMetric", iou_metrics=["mIoU"], per_class_table=False)],
)
test_cfg = dict(type="MultiSetTestLoop")
