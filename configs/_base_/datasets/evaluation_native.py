# Evaluation on the official datasets at native resolution, for networks that run at full size, and
# on Cityscapes val for the closed-set quality. `ood-seg prepare-data` makes these folders. Missing
# images are an error unless the dataset is given expected_count=None.
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


def loader(type, folder, pipeline=anomaly_pipeline, **options):
    dataset = dict(type=type, data_root=evaluation_root + folder, pipeline=pipeline, **options)
    sampler = dict(type="DefaultSampler", shuffle=False)
    return dict(batch_size=1, num_workers=2, sampler=sampler, dataset=dataset)


test_dataloader = dict(
    fs_lost_and_found=loader("FishyscapesDataset", "fs_lost_and_found", subset="lost_and_found"),
    # The versions of Static differ by over 10 points of AP.
    fs_static=loader("FishyscapesDataset", "fs_static_v3", subset="static"),
    road_anomaly=loader("RoadAnomalyDataset", "road_anomaly/RoadAnomaly_jpg"),
    smiyc_road_anomaly21=loader(
        "SMIYCDataset", "smiyc/dataset_AnomalyTrack", track="RoadAnomaly21"
    ),
    smiyc_road_obstacle21=loader(
        "SMIYCDataset", "smiyc/dataset_ObstacleTrack", track="RoadObstacle21"
    ),
    cityscapes_val=loader(
        "CityscapesDataset",
        "cityscapes",
        closed_pipeline,
        data_prefix=dict(img_path="leftImg8bit/val", seg_map_path="gtFine/val"),
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
