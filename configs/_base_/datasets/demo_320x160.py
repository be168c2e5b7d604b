# The drawn data of `ood-seg demo`, in the layouts of the real datasets: crops for training without
# outliers, validation with objects that training never pastes, and three test datasets.
data_root = "{{$OOD_SEG_DEMO:demo_output}}/data/"
coco_objects = dict(
    type="CocoObjects",
    ann_file=data_root + "coco/annotations/instances.json",
    img_dir=data_root + "coco/train",
    min_area=300,
    holdout_every=5,
    cache_size=400,
)


def loader(type, folder, pipeline, img_path=None, seg_map_path=None, **options):
    dataset = dict(type=type, data_root=data_root + folder, pipeline=pipeline, **options)
    if img_path:
        dataset["data_prefix"] = dict(img_path=img_path, seg_map_path=seg_map_path)
    sampler = dict(type="DefaultSampler", shuffle=False)
    return dict(batch_size=1, num_workers=0, sampler=sampler, dataset=dataset)


def cityscapes_val(*transforms):
    steps = [
        dict(type="LoadCheckedImage"),
        dict(type="LoadCheckedLabels", num_classes=19),
        *transforms,
        dict(type="PackSegInputs"),
    ]
    return loader("CityscapesDataset", "cityscapes", steps, "leftImg8bit/val", "gtFine/val")


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
val_dataloader = cityscapes_val(
    dict(
        type="PasteOutliers",
        source=dict(coco_objects, holdout=True),
        count=(1, 2),
        size_range=(14, 60),
        seed=0,
    )
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
    road_anomaly=loader("RoadAnomalyDataset", "road_anomaly", test_pipeline, expected_count=None),
    fishyscapes=loader(
        "AnomalyFolderDataset",
        "fishyscapes",
        test_pipeline,
        "images",
        "labels_masks",
        label_map={0: 0, 1: 1, 255: 255},
    ),
    cityscapes=cityscapes_val(),
)
test_evaluator = dict(
    road_anomaly=[dict(type="AnomalyMetric", dataset_name="drawn Road Anomaly")],
    fishyscapes=[dict(type="AnomalyMetric", dataset_name="drawn Fishyscapes")],
    cityscapes=[dict(type="KnownIoUMetric", iou_metrics=["mIoU"], per_class_table=False)],
)
test_cfg = dict(type="MultiSetTestLoop")
