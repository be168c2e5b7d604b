"""RPL on ERFNet: a residual block trained beside the frozen segmentor."""

_base_ = [
    "../_base_/pretrained/erfnet_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_700x700.py",
    "../_base_/schedules/adam-7.5e-5_40e.py",
    "../_base_/methods/rpl.py",
]
model = _base_.pop("method")
model.decode_head.update(
    wraps="FCNHead",
    block=dict(  # not a copy: ERFNet has no pyramid
        channels=64,
        dilations=(2, 4, 8),
        norm_cfg=dict(type="GN", num_groups=8),
        initial_output="zeros",
        norm_statistics="updated",
    ),
)
default_hooks = dict(checkpoint=dict(interval=371))
