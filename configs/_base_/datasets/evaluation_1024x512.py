# Evaluation: two anomaly sets, and four labelled sets for the closed-set quality.
# Images at 1024x512, scores and labels resized to the size of each mask.
evaluation_root = "{{$OOD_SEG_DATA:data}}/"
anomaly_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="Resize", scale=(1024, 512), keep_ratio=False),
    dict(type="LoadCheckedLabels"),  # after Resize: masks keep their own size
    dict(type="PackSegInputs"),
]
closed_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="Resize", scale=(1024, 512), keep_ratio=False),
    dict(type="LoadCheckedLabels", num_classes=19),
    dict(type="PackSegInputs"),
]
kitti_pipeline = [  # images 1224x370, cropped from the centre of the labelled 1242x375
    dict(type="LoadCheckedImage"),
    dict(type="Resize", scale=(1024, 512), keep_ratio=False),
    dict(type="LoadCheckedLabels", num_classes=19, fit_to_image="crop"),
    dict(type="PackSegInputs"),
]
test_dataloader = dict(
    road_anomaly=dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="RoadAnomalyDataset",
            data_root=evaluation_root + "road_anomaly/RoadAnomaly_jpg",
            pipeline=anomaly_pipeline,
        ),
    ),
    fs_static=dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="AnomalyFolderDataset",
            data_root=evaluation_root + "fs_static",
            data_prefix=dict(img_path="images", seg_map_path="labels_masks"),
            label_map={0: 0, 1: 1, 255: 255},
            expected_count=30,
            pipeline=anomaly_pipeline,
        ),
    ),
    cityscapes_val=dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="CityscapesDataset",
            data_root=evaluation_root + "cityscapes",
            data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
            pipeline=closed_pipeline,
        ),
    ),
    bdd_val=dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="BDD100KDataset",
            data_root=evaluation_root + "bdd100k",
            data_prefix=dict(img_path="images/10k/val", seg_map_path="labels/sem_seg/masks/val"),
            pipeline=closed_pipeline,
        ),
    ),
    kitti=dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="KittiSemanticsDataset",
            data_root=evaluation_root + "kitti_semantics",
            data_prefix=dict(img_path="training/image_2", seg_map_path="training/semantic"),
            pipeline=kitti_pipeline,
        ),
    ),
    camvid_val=dict(
        batch_size=1,
        num_workers=1,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="CamVidDataset",
            data_root=evaluation_root + "camvid",
            data_prefix=dict(img_path="val", seg_map_path="valannot"),
            pipeline=closed_pipeline,
        ),
    ),
)
iou_metric = dict(type="KnownIoUMetric", iou_metrics=["mIoU"], per_class_table=False)
test_evaluator = dict(
    road_anomaly=[dict(type="AnomalyMetric", dataset_name="Road Anomaly")],
    fs_static=[dict(type="AnomalyMetric", dataset_name="Fishyscapes Static")],
    cityscapes_val=[iou_metric],
    bdd_val=[iou_metric],
    kitti=[iou_metric],
    camvid_val=[iou_metric],
)
test_cfg = dict(type="MultiSetTestLoop")
tta_model = dict(type="OODTTAModel")
tta_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale=(768, 384), keep_ratio=False),
                dict(type="Resize", scale=(1024, 512), keep_ratio=False),
                dict(type="Resize", scale=(1280, 640), keep_ratio=False),
            ],
            [
                dict(type="RandomFlip", prob=0.0, direction="horizontal"),
                dict(type="RandomFlip", prob=1.0, direction="horizontal"),
            ],
            [dict(type="LoadCheckedLabels")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
