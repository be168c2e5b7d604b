"""Outlier exposure (OE) in an anomaly branch of CGNet: the recommended fork."""

_base_ = ["../energy_oe/energy-oe_fcn-cgnet-branch_300it_street-coco.py"]
model = dict(energy_head=dict(losses=[dict(type="OutlierExposureLoss", loss_weight=0.5)]))
