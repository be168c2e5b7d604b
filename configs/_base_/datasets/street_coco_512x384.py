# Training: Cityscapes, BDD100K and CamVid scenes at 1024x512, cropped, COCO objects pasted in.
# Validation: CamVid val scenes with objects of COCO images that are held out of training.
data_root = "{{$OOD_SEG_DATA:data}}/"
coco_objects = dict(
    type="CocoObjects",
    ann_file=data_root + "coco/annotations/instances_train2017.json",
    img_dir=data_root + "coco/train2017",
    min_area=1500,
    holdout_every=5,
    cache_size=400,
)
train_pipeline = [
    # All 147 scenes of an epoch take 215 MiB, once for all loader workers.
    dict(type="LoadCheckedImage", cache_mb=256),
    dict(type="LoadCheckedLabels", num_classes=19, cache_mb=256),
    dict(type="RandomResize", scale=(1024, 512), ratio_range=(0.8, 1.6), keep_ratio=False),
    dict(type="RandomCrop", crop_size=(384, 512)),
    dict(type="RandomFlip", prob=0.5),
    # After the crop, so that every object is complete and keeps its drawn size.
    dict(type="PasteOutliers", source=coco_objects, count=(1, 2), size_range=(30, 220)),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
cityscapes_train = dict(
    type="CityscapesDataset",
    data_root=data_root + "cityscapes",
    data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
    pipeline=train_pipeline,
)
bdd_train = dict(
    type="BDD100KDataset",
    data_root=data_root + "bdd100k",
    data_prefix=dict(img_path="images/10k/train", seg_map_path="labels/sem_seg/masks/train"),
    pipeline=train_pipeline,
)
camvid_train = dict(
    type="CamVidDataset",
    data_root=data_root + "camvid",
    data_prefix=dict(img_path="train", seg_map_path="trainannot"),
    indices=list(range(0, 367, 3)),  # neighbouring frames are similar
    pipeline=train_pipeline,
)
# Repeats make the three sources about equally frequent: 120, 128 and 123 scenes an epoch.
train_scenes = dict(
    type="ConcatDataset",
    ignore_keys=["label_map", "reduce_zero_label"],
    datasets=[
        dict(type="RepeatDataset", times=15, dataset=cityscapes_train),
        dict(type="RepeatDataset", times=8, dataset=bdd_train),
        camvid_train,
    ],
)
train_dataloader = dict(
    batch_size=2,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="StreamSampler"),
    dataset=dict(type="SeededSamples", dataset=train_scenes),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CamVidDataset",
        data_root=data_root + "camvid",
        data_prefix=dict(img_path="val", seg_map_path="valannot"),
        pipeline=[
            dict(type="LoadCheckedImage"),
            dict(type="LoadCheckedLabels"),
            dict(type="Resize", scale=(1024, 512), keep_ratio=False),
            dict(type="TakeSizeAsOriginal"),  # scored where it is pasted
            dict(
                type="PasteOutliers",
                source=dict(coco_objects, holdout=True),
                count=(1, 2),
                size_range=(30, 220),
                seed=0,
            ),
            dict(type="PackSegInputs"),
        ],
    ),
)
val_evaluator = [
    dict(type="AnomalyMetric", label_space="training", dataset_name="CamVid val + held-back COCO"),
    dict(type="KnownIoUMetric", iou_metrics=["mIoU"], per_class_table=False),
]
val_cfg = dict(type="ValLoop")
