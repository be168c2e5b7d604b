"""Pre-trained ERFNet, scored by its density under one Gaussian per class (GMM); no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(
        score=dict(_delete_=True, type="GaussianMixture", statistics=_base_.statistics)
    )
)
