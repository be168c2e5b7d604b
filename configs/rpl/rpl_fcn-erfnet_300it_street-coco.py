"""Residual pattern learning (RPL) on a frozen ERFNet, with pasted COCO objects, on a CPU."""

_base_ = [
    "../energy_oe/energy-oe_fcn-erfnet_300it_street-coco.py",
    "../_base_/methods/rpl.py",
]
model = _base_.pop("method")
model.distillation = None
model.decode_head.update(
    wraps="FCNHead",
    block=dict(
        channels=64,
        dilations=(2, 4, 8),
        # Statistics of each image alone: a batch of two images has too few.
        norm_cfg=dict(type="GN", num_groups=8),
    ),
)
optim_wrapper = dict(optimizer=dict(lr=5e-3))  # the block starts from random weights
