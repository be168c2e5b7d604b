"""Meta-OoD's entropy loss on ERFNet, all parameters trained."""

_base_ = [
    "../_base_/pretrained/erfnet-decoder_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_900x900.py",
    "../_base_/schedules/adam-1e-5_40e.py",
    "../_base_/methods/meta-ood.py",
]
model = _base_.pop("method")
default_hooks = dict(checkpoint=dict(interval=409))
