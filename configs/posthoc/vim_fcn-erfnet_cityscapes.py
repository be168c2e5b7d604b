"""Pre-trained ERFNet, scored by virtual-logit matching (ViM); no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(score=dict(_delete_=True, type="VirtualLogit", statistics=_base_.statistics))
)
