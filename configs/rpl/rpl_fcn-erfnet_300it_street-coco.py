"""Residual pattern learning (RPL) on a frozen ERFNet, with pasted COCO objects, on a CPU."""

_base_ = ["../energy_oe/energy-oe_fcn-erfnet_300it_street-coco.py"]
model = dict(
    decode_head=dict(
        type="ResidualPatternHead",
        wraps="FCNHead",
        block=dict(
            channels=64,
            dilations=(2, 4, 8),
            # Of each image alone: two images are too few for statistics of the batch.
            norm_cfg=dict(type="GN", num_groups=8),
        ),
    ),
    freeze=dict(trained=["decode_head.residual_block.*"]),
    closed_set_loss=False,
    distillation=None,
    energy_head=dict(
        score=dict(type="ResidualEnergy"),
        smoothing=dict(kernel_size=7, sigma=1.0),
        num_classes=19,
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
# The pre-trained checkpoint has no block.
new_weights = [r"^decode_head\.residual_block\."]
optim_wrapper = dict(optimizer=dict(lr=5e-3))  # the block starts from nothing
