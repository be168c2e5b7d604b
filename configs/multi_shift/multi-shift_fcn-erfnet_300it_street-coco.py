"""Cloned decoder and classifier of ERFNet with relative margins (MultiShift), on a CPU."""

_base_ = "../energy_oe/energy-oe_fcn-erfnet_300it_street-coco.py"
model = dict(
    # The clone; a classifier of one 1x1 convolution on 16 channels has little to learn with.
    anomaly_branch=dict(fork=["backbone.decoder.*", "decode_head.*"]),
    distillation=None,
    energy_head=dict(
        # Published: 50 times the cross entropy beside it; here that has weight 1.
        losses=[dict(type="RelativeMarginLoss", margin=10.0, pairs=10000, loss_weight=0.02)],
    ),
)
