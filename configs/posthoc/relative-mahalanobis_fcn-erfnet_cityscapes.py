"""Pre-trained ERFNet, scored by the relative Mahalanobis distance; no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(
        score=dict(_delete_=True, type="RelativeMahalanobis", statistics=_base_.statistics)
    )
)
