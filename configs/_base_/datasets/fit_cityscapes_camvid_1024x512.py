# What `ood-seg fit` looks at: Cityscapes and CamVid train at 1024x512, as they are; and for methods
# that learn from outlier pixels, such scenes with pasted COCO objects, of which only those count.
fit_root = "{{$OOD_SEG_DATA:data}}/"
fit_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedLabels", num_classes=19),
    dict(type="Resize", scale=(1024, 512), keep_ratio=False),
    dict(type="PackSegInputs"),
]
fit_pasted_pipeline = [
    *fit_pipeline[:3],
    dict(
        type="PasteOutliers",
        source=dict(
            type="CocoObjects",
            ann_file=fit_root + "coco/annotations/instances_train2017.json",
            img_dir=fit_root + "coco/train2017",
            min_area=1500,
            cache_size=400,
        ),
        count=(1, 2),
        size_range=(30, 220),
    ),
    dict(type="PackSegInputs"),
]
fit_cityscapes = dict(
    type="CityscapesDataset",
    data_root=fit_root + "cityscapes",
    data_prefix=dict(img_path="leftImg8bit/train", seg_map_path="gtFine/train"),
)
fit_camvid = dict(
    type="CamVidDataset",
    data_root=fit_root + "camvid",
    data_prefix=dict(img_path="train", seg_map_path="trainannot"),
)
fit_dataloader = dict(
    batch_size=1,
    num_workers=1,
    dataset=dict(
        type="ConcatDataset",
        ignore_keys=["label_map", "reduce_zero_label"],
        datasets=[
            dict(fit_cityscapes, pipeline=fit_pipeline),
            dict(fit_camvid, pipeline=fit_pipeline),
        ],
    ),
)
pasted_dataloader = dict(
    batch_size=1,
    num_workers=1,
    dataset=dict(
        type="ConcatDataset",
        ignore_keys=["label_map", "reduce_zero_label"],
        datasets=[
            dict(fit_cityscapes, pipeline=fit_pasted_pipeline),
            dict(fit_camvid, pipeline=fit_pasted_pipeline),
        ],
    ),
)
