# Evaluation on the official sets at native resolution, for networks that run at full size, and
# Cityscapes val for the closed-set quality. `ood-seg prepare-data` makes these folders; a part of
# a set counts as damaged unless its dataset is given expected_count=None.
evaluation_root = "{{$OOD_SEG_DATA:data}}/"
anomaly_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedLabels"),
    dict(type="PackSegInputs"),
]
closed_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedLabels", num_classes=19),
    dict(type="PackSegInputs"),
]
test_dataloader = dict(
    fs_lost_and_found=dict(
        batch_size=1,
        num_workers=2,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="FishyscapesDataset",
            subset="lost_and_found",
            data_root=evaluation_root + "fs_lost_and_found",
            pipeline=anomaly_pipeline,
        ),
    ),
    fs_static=dict(
        batch_size=1,
        num_workers=2,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="FishyscapesDataset",
            subset="static",
            data_root=evaluation_root + "fs_static_v3",  # versions differ by over 10 points of AP
            pipeline=anomaly_pipeline,
        ),
    ),
    road_anomaly=dict(
        batch_size=1,
        num_workers=2,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="RoadAnomalyDataset",
            data_root=evaluation_root + "road_anomaly/RoadAnomaly_jpg",
            pipeline=anomaly_pipeline,
        ),
    ),
    smiyc_road_anomaly21=dict(
        batch_size=1,
        num_workers=2,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="SMIYCDataset",
            track="RoadAnomaly21",
            data_root=evaluation_root + "smiyc/dataset_AnomalyTrack",
            pipeline=anomaly_pipeline,
        ),
    ),
    smiyc_road_obstacle21=dict(
        batch_size=1,
        num_workers=2,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="SMIYCDataset",
            track="RoadObstacle21",
            data_root=evaluation_root + "smiyc/dataset_ObstacleTrack",
            pipeline=anomaly_pipeline,
        ),
    ),
    cityscapes_val=dict(
        batch_size=1,
        num_workers=2,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="CityscapesDataset",
            data_root=evaluation_root + "cityscapes",
            data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
            pipeline=closed_pipeline,
        ),
    ),
)
test_evaluator = dict(
    fs_lost_and_found=[dict(type="AnomalyMetric", dataset_name="Fishyscapes Lost and Found")],
    fs_static=[dict(type="AnomalyMetric", dataset_name="Fishyscapes Static v3")],
    road_anomaly=[dict(type="AnomalyMetric", dataset_name="Road Anomaly")],
    smiyc_road_anomaly21=[dict(type="AnomalyMetric", dataset_name="RoadAnomaly21 validation")],
    smiyc_road_obstacle21=[dict(type="AnomalyMetric", dataset_name="RoadObstacle21 validation")],
    cityscapes_val=[dict(type="KnownIoUMetric", iou_metrics=["mIoU"], per_class_table=False)],
)
test_cfg = dict(type="MultiSetTestLoop")
