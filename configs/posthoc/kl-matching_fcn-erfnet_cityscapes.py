"""Pre-trained ERFNet, scored by the KL divergence to each class's mean posterior; no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(score=dict(_delete_=True, type="KLMatching", statistics=_base_.statistics))
)
