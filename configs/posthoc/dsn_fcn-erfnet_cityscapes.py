"""Pre-trained ERFNet, scored by the density of an activation under a flow (DSN); no training."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(
        score=dict(
            _delete_=True, type="EmbeddingDensity", statistics=_base_.statistics, combine="single"
        )
    )
)
