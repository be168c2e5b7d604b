"""EnergyOE in an anomaly branch of ERFNet; the cheap fork: decoder and head."""

_base_ = "./energy-oe_fcn-erfnet-branch_300it_street-coco.py"
model = dict(anomaly_branch=dict(fork=["backbone.decoder.*", "decode_head.*"]))
