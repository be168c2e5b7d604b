# Evaluation: two anomaly datasets, and four labelled ones for the closed-set quality. Images at
# 1024x512; scores and labels are resized to the size of each mask.
evaluation_root = "{{$OOD_SEG_DATA:data}}/"
anomaly_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="Resize", scale=(1024, 512), keep_ratio=False),
    dict(type="LoadCheckedLabels"),  # after Resize: masks keep their own size
    dict(type="PackSegInputs"),
]
closed_pipeline = [
    *anomaly_pipeline[:2],
    dict(type="LoadCheckedLabels", num_classes=19),
    dict(type="PackSegInputs"),
]
kitti_pipeline = [  # images 1224x370, cropped from the centre of the labelled 1242x375
    *anomaly_pipeline[:2],
    dict(type="LoadCheckedLabels", num_classes=19, fit_to_image="crop"),
    dict(type="PackSegInputs"),
]


def loader(type, folder, pipeline, img_path=None, seg_map_path=None, **options):
    dataset = dict(type=type, data_root=evaluation_root + folder, pipeline=pipeline, **options)
    if img_path:
        dataset["data_prefix"] = dict(img_path=img_path, seg_map_path=seg_map_path)
    sampler = dict(type="DefaultSampler", shuffle=False)
    return dict(batch_size=1, num_workers=1, sampler=sampler, dataset=dataset)


test_dataloader = dict(
    road_anomaly=loader("RoadAnomalyDataset", "road_anomaly/RoadAnomaly_jpg", anomaly_pipeline),
    fs_static=loader(
        "AnomalyFolderDataset",
        "fs_static",
        anomaly_pipeline,
        "images",
        "labels_masks",
        label_map={0: 0, 1: 1, 255: 255},
        expected_count=30,
    ),
    cityscapes_val=loader(
        "CityscapesDataset", "cityscapes", closed_pipeline, "leftImg8bit/val", "gtFine/val"
    ),
    bdd_val=loader(
        "BDD100KDataset",
        "bdd100k",
        closed_pipeline,
        "images/10k/val",
        "labels/sem_seg/masks/val",
    ),
    kitti=loader(
        "KittiSemanticsDataset",
        "kitti_semantics",
        kitti_pipeline,
        "training/image_2",
        "training/semantic",
    ),
    camvid_val=loader("CamVidDataset", "camvid", closed_pipeline, "val", "valannot"),
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
                dict(type="Resize", scale=scale, keep_ratio=False)
                for scale in ((768, 384), (1024, 512), (1280, 640))
            ],
            [dict(type="RandomFlip", prob=prob, direction="horizontal") for prob in (0.0, 1.0)],
            [dict(type="LoadCheckedLabels")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
