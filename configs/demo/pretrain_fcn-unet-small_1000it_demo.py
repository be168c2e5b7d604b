"""Demo, first stage: a small U-Net learns the drawn street scenes; no outliers."""

_base_ = [
    "../_base_/models/unet-small.py",
    "../_base_/datasets/demo_320x160.py",
    "../_base_/default_runtime.py",
]
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=6e-3))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, begin=0, end=20, by_epoch=False),
    dict(type="PolyLR", power=0.9, begin=20, end=1000, eta_min=1e-5, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=1000, val_interval=1000)
work_dir = "{{$OOD_SEG_DEMO:demo_output}}/pretrain"
