"""Pre-trained CGNet, scored by the Mahalanobis distance to the nearest class; no training."""

_base_ = ["./energy_fcn-cgnet_cityscapes.py"]
model = dict(
    energy_head=dict(score=dict(_delete_=True, type="Mahalanobis", statistics=_base_.statistics))
)
