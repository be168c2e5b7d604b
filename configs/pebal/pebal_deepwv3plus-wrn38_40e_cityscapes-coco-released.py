"""PEBAL with the errors of its released code, for comparison; see docs/recipes.md."""

_base_ = [
    "../_base_/pretrained/deepwv3plus-wrn38_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_900x900_released.py",
    "../_base_/schedules/adam-1e-5_40e.py",
    "../_base_/methods/pebal.py",
]
model = dict(
    _base_.pop("method"),
    data_preprocessor=dict(size=(900, 900)),
    freeze=dict(norm_statistics="updated", dropout="on"),
)
default_hooks = dict(checkpoint=dict(interval=409))
# 40 x 371 iterations, then the smallest rate: the pasted scenes are not counted.
param_scheduler = [dict(_base_.param_scheduler[0], end=14840)]
