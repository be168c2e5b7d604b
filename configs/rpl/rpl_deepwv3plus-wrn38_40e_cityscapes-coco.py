"""RPL on DeepLabV3+ WideResNet38: a residual block trained beside the frozen segmentor."""

_base_ = [
    "../_base_/pretrained/deepwv3plus-wrn38_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_700x700.py",
    "../_base_/schedules/adam-7.5e-5_40e.py",
    "../_base_/methods/rpl.py",
]
model = _base_.pop("method")
model.data_preprocessor = dict(size=(700, 700))
model.decode_head.update(
    wraps="DeepWV3PlusHead",
    # Its pyramid starts as a copy of the head's.
    block=dict(initial_output="zeros", norm_statistics="updated"),
)
default_hooks = dict(checkpoint=dict(interval=371))
