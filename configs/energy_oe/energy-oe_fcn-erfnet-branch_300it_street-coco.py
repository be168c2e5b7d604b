"""EnergyOE in an anomaly branch of ERFNet; fork: third encoder stage, decoder and head."""

_base_ = "./energy-oe_fcn-erfnet_300it_street-coco.py"
model = dict(
    anomaly_branch=dict(
        fork=[
            "backbone.encoder.[789].*",
            "backbone.encoder.1[0-5].*",
            "backbone.decoder.*",
            "decode_head.*",
        ],
    ),
    distillation=dict(checkpoint=None),  # the frozen part is the teacher
)
