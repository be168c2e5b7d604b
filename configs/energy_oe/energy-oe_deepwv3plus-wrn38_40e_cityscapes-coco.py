"""EnergyOE on DeepLabV3+ WideResNet38: cross entropy + 0.1 x energy loss."""

_base_ = [
    "../_base_/pretrained/deepwv3plus-wrn38_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_900x900.py",
    "../_base_/schedules/adam-1e-5_40e.py",
    "../_base_/methods/energy-oe.py",
]
model = dict(_base_.pop("method"), data_preprocessor=dict(size=(900, 900)))
default_hooks = dict(checkpoint=dict(interval=409))
