"""Pre-trained ERFNet, scored by the energy of sparsified logits (DICE); no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(energy_head=dict(score=dict(_delete_=True, type="DICE", statistics=_base_.statistics)))
