"""RPL on DeepLabV3+ ResNet-101: a residual block trained beside the frozen segmentor."""

_base_ = [
    "../_base_/pretrained/deeplabv3plus-r101_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_700x700.py",
    "../_base_/schedules/adam-7.5e-5_40e.py",
    "../_base_/methods/rpl.py",
]
model = _base_.pop("method")
model.decode_head.update(
    wraps="DepthwiseSeparableASPPHead",
    # Its pyramid starts as a copy of the head's.
    block=dict(initial_output="zeros", norm_statistics="updated"),
)
default_hooks = dict(checkpoint=dict(interval=371))
