"""Demo, second stage: fine-tuned with pasted drawn objects under the energy loss (EnergyOE)."""

_base_ = [
    "../_base_/models/unet-small.py",
    "../_base_/datasets/demo_320x160.py",
    "../_base_/default_runtime.py",
    "../_base_/methods/energy-oe.py",
]
load_from = "{{$OOD_SEG_DEMO:demo_output}}/pretrain/iter_1000.pth"
model = dict(_base_.pop("method"), freeze=dict(norm_statistics="fixed", dropout="off"))
model["energy_head"].losses[0].update(margin_in=-7.0, margin_out=-2.0)
# After the crop, so that every object is complete and keeps its drawn size.
_base_.train_dataloader.dataset.dataset.pipeline.insert(
    -1,
    dict(type="PasteOutliers", source=_base_.coco_objects, count=(1, 2), size_range=(14, 60)),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-3))
param_scheduler = [dict(type="PolyLR", power=0.9, begin=0, end=200, eta_min=1e-6, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=200, val_interval=200)
work_dir = "{{$OOD_SEG_DEMO:demo_output}}/energy_oe"
