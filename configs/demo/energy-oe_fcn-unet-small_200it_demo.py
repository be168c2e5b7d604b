"""Demo, second stage: fine-tuned with pasted drawn objects under the energy loss (EnergyOE)."""

_base_ = [
    "../_base_/models/unet-small.py",
    "../_base_/datasets/demo_320x160.py",
    "../_base_/default_runtime.py",
]
load_from = "{{$OOD_SEG_DEMO:demo_output}}/pretrain/iter_1000.pth"
model = dict(
    freeze=dict(norm_statistics="fixed", dropout="off"),
    energy_head=dict(
        losses=[dict(type="EnergyLoss", margin_in=-7.0, margin_out=-2.0, loss_weight=0.1)],
    ),
)
train_dataloader = dict(
    dataset=dict(
        dataset=dict(
            pipeline=[
                dict(type="LoadCheckedImage"),
                dict(type="LoadCheckedLabels", num_classes=19),
                dict(
                    type="RandomResize", scale=(320, 160), ratio_range=(1.0, 1.25), keep_ratio=True
                ),
                dict(type="RandomCrop", crop_size=(160, 160)),
                dict(type="RandomFlip", prob=0.5),
                # After the crop, so that every object is seen whole and in its drawn size.
                dict(
                    type="PasteOutliers",
                    source=_base_.coco_objects,
                    count=(1, 2),
                    size_range=(14, 60),
                ),
                dict(type="PackSegInputs"),
            ],
        )
    ),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3))
param_scheduler = [dict(type="PolyLR", power=0.9, begin=0, end=200, eta_min=1e-6, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=200, val_interval=200)
work_dir = "{{$OOD_SEG_DEMO:demo_output}}/energy_oe"
