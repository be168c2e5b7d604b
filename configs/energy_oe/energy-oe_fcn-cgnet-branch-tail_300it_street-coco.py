"""EnergyOE in an anomaly branch of CGNet; the cheap fork: last blocks and head."""

# CGNet has no decoder, and its classifier alone is one 1x1 convolution.
_base_ = "./energy-oe_fcn-cgnet-branch_300it_street-coco.py"
model = dict(
    anomaly_branch=dict(
        fork=[
            "backbone.level2.1[6-9].*",
            "backbone.level2.20.*",
            "backbone.norm_prelu_2.*",
            "decode_head.*",
        ],
    ),
)
