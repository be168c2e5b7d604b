"""Pre-trained ERFNet, scored by the predictive entropy under dropout (MC dropout); no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(energy_head=dict(score=dict(_delete_=True, type="MCDropout", samples=8)))
