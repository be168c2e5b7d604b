# The sets of evaluation_1024x512.py with every image at its own size.
_base_ = "./evaluation_1024x512.py"
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
kitti_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedLabels", num_classes=19, fit_to_image="crop"),
    dict(type="PackSegInputs"),
]
test_dataloader = dict(
    road_anomaly=dict(dataset=dict(pipeline=anomaly_pipeline)),
    fs_static=dict(dataset=dict(pipeline=anomaly_pipeline)),
    cityscapes_val=dict(dataset=dict(pipeline=closed_pipeline)),
    bdd_val=dict(dataset=dict(pipeline=closed_pipeline)),
    kitti=dict(dataset=dict(pipeline=kitti_pipeline)),
    camvid_val=dict(dataset=dict(pipeline=closed_pipeline)),
)
tta_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(
        type="TestTimeAug",
        transforms=[
            [
                dict(type="Resize", scale_factor=0.75, keep_ratio=True),
                dict(type="Resize", scale_factor=1.0, keep_ratio=True),
                dict(type="Resize", scale_factor=1.25, keep_ratio=True),
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
