"""RPL on ERFNet: a residual block trained beside the frozen segmentor."""

_base_ = [
    "../_base_/pretrained/erfnet_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_700x700.py",
    "../_base_/schedules/adam-7.5e-5_40e.py",
]
# The checkpoint has no block.
new_weights = [r"^decode_head\.residual_block\."]
model = dict(
    decode_head=dict(
        type="ResidualPatternHead",
        wraps="FCNHead",
        # ERFNet has no pyramid to copy.
        block=dict(
            channels=64,
            dilations=(2, 4, 8),
            norm_cfg=dict(type="GN", num_groups=8),
            initial_output="zeros",
            norm_statistics="updated",
        ),
    ),
    freeze=dict(
        trained=["decode_head.residual_block.*"],
        norm_statistics="fixed",
        dropout="off",
    ),
    closed_set_loss=False,
    energy_head=dict(
        num_classes=19,
        score=dict(type="ResidualEnergy", temperature=1.0),
        smoothing=dict(kernel_size=7, sigma=1.0),
        losses=[
            dict(
                type="ResidualPatternLoss",
                consistency_weight=1.0,
                entropy_weight=1.0,
                outlier_weight=0.05,
            ),
        ],
    ),
)
# The layer that is not copied from the pre-trained head learns faster.
optim_wrapper = dict(
    paramwise_cfg=dict(custom_keys={"decode_head.residual_block.output": dict(lr_mult=10.0)})
)
default_hooks = dict(checkpoint=dict(interval=371))
