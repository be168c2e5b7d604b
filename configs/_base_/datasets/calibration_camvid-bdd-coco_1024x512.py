# Input of `ood-seg calibrate`: every third CamVid val frame (neighbours are similar) and BDD100K
# val, at 1024x512, with objects of COCO images that are held out of training.
calibration_root = "{{$OOD_SEG_DATA:data}}/"
calibration_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedLabels", num_classes=19),
    dict(type="Resize", scale=(1024, 512), keep_ratio=False),
    dict(type="TakeSizeAsOriginal"),  # scored where it is pasted
    dict(
        type="PasteOutliers",
        source=dict(
            type="CocoObjects",
            ann_file=calibration_root + "coco/annotations/instances_train2017.json",
            img_dir=calibration_root + "coco/train2017",
            min_area=1500,
            holdout_every=5,
            holdout=True,
            cache_size=400,
        ),
        count=(1, 2),
        size_range=(30, 220),
        seed=0,
    ),
    dict(type="PackSegInputs"),
]
calibration_dataloader = dict(
    batch_size=1,
    num_workers=1,
    dataset=dict(
        type="ConcatDataset",
        ignore_keys=["label_map", "reduce_zero_label"],
        datasets=[
            dict(
                type="CamVidDataset",
                data_root=calibration_root + "camvid",
                data_prefix=dict(img_path="val", seg_map_path="valannot"),
                indices=list(range(0, 101, 3)),
                pipeline=calibration_pipeline,
            ),
            dict(
                type="BDD100KDataset",
                data_root=calibration_root + "bdd100k",
                data_prefix=dict(
                    img_path="images/10k/val", seg_map_path="labels/sem_seg/masks/val"
                ),
                pipeline=calibration_pipeline,
            ),
        ],
    ),
)
calibration_evaluator = dict(
    type="AnomalyMetric",
    label_space="training",
    dataset_name="CamVid val and BDD100K val with held-back COCO objects",
)
