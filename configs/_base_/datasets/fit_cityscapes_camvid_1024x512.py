# Input of `ood-seg fit`: Cityscapes and CamVid train at 1024x512; and for methods that learn from
# outlier pixels, the same scenes with pasted COCO objects, of which only the objects count.
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


def loader(pipeline):
    datasets = [dict(dataset, pipeline=pipeline) for dataset in (fit_cityscapes, fit_camvid)]
    ignored = ["label_map", "reduce_zero_label"]
    dataset = dict(type="ConcatDataset", ignore_keys=ignored, datasets=datasets)
    return dict(batch_size=1, num_workers=1, dataset=dataset)


fit_dataloader = loader(fit_pipeline)
pasted_dataloader = loader(fit_pasted_pipeline)
