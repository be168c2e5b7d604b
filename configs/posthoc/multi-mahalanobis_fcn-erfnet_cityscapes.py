"""Pre-trained ERFNet, scored by Mahalanobis distances of several layers; no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(
        score=dict(_delete_=True, type="MultiLayerMahalanobis", statistics=_base_.statistics)
    )
)
