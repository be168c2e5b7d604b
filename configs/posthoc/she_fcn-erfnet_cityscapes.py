"""Pre-trained ERFNet, scored by similarity to the pattern of its predicted class (SHE)."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(energy_head=dict(score=dict(_delete_=True, type="SHE", statistics=_base_.statistics)))
