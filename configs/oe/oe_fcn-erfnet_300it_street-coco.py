"""ERFNet fine-tuned with pasted COCO objects under outlier exposure (OE), on a CPU."""

_base_ = ["../energy_oe/energy-oe_fcn-erfnet_300it_street-coco.py"]
model = dict(energy_head=dict(losses=[dict(type="OutlierExposureLoss", loss_weight=0.5)]))
