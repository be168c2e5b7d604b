"""Pre-trained ERFNet, scored by one minus the maximum softmax probability; no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(energy_head=dict(score=dict(_delete_=True, type="MaxSoftmax")))
