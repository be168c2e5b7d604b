# Residual pattern learning: a block trained beside the frozen segmentor corrects its logits.
# A leaf states which head the block stands beside (`wraps`) and how the block is built.
new_weights = [r"^decode_head\.residual_block\."]  # the pre-trained checkpoint has no block
method = dict(
    decode_head=dict(type="ResidualPatternHead"),
    freeze=dict(trained=["decode_head.residual_block.*"], norm_statistics="fixed", dropout="off"),
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
