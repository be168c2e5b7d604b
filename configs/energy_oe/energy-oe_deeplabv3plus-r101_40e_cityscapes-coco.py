"""EnergyOE on DeepLabV3+ ResNet-101: cross entropy + 0.1 x energy loss."""

_base_ = [
    "../_base_/pretrained/deeplabv3plus-r101_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_900x900.py",
    "../_base_/schedules/adam-1e-5_40e.py",
    "../_base_/methods/energy-oe.py",
]
model = _base_.pop("method")
default_hooks = dict(checkpoint=dict(interval=409))
