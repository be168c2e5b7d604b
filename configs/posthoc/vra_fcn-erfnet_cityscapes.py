"""Pre-trained ERFNet, scored by its energy after rectified activations (VRA); no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(energy_head=dict(score=dict(_delete_=True, type="VRA", statistics=_base_.statistics)))
