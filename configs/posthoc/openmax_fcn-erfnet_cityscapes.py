"""Pre-trained ERFNet, scored by the log odds of an unknown class (OpenMax); no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(score=dict(_delete_=True, type="OpenMax", statistics=_base_.statistics))
)
