"""Residual pattern learning (RPL) on ERFNet with a block that reads several layers, on a CPU."""

_base_ = "./rpl_fcn-erfnet_300it_street-coco.py"
model = dict(
    decode_head=dict(
        block=dict(
            layers=["backbone.encoder.6", "backbone.encoder.15", "backbone.decoder.2"],
            in_channels=[64, 128, 64],
        ),
    ),
)
