"""Pre-trained ERFNet, scored by its energy with fitted class weights; no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(score=dict(_delete_=True, type="WeightedEnergy", statistics=_base_.statistics))
)
