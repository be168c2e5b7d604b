"""Pre-trained ERFNet, scored by its energy, guided by known activations (NNGuide)."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(score=dict(_delete_=True, type="NNGuide", statistics=_base_.statistics))
)
