"""Pre-trained ERFNet, scored by the distance to its decision boundaries (fDBD); no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(energy_head=dict(score=dict(_delete_=True, type="FDBD", statistics=_base_.statistics)))
