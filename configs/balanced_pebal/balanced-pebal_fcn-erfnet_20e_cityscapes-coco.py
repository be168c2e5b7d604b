"""Balanced PEBAL on ERFNet: abstention loss + 0.1 x balanced energy loss."""

_base_ = [
    "../_base_/pretrained/erfnet-decoder_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_900x900.py",
    "../_base_/schedules/adam-1e-5_20e.py",
    "../_base_/methods/balanced-pebal.py",
]
model = _base_.pop("method")
model.energy_head.losses[1].margin_out = 2.0
custom_hooks = [*_base_.custom_hooks, dict(type="OutlierPriorHook", num_images=10000)]
default_hooks = dict(checkpoint=dict(interval=409))
