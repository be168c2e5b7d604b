"""Pre-trained ERFNet, scored by the distance to its nearest known activations (kNN)."""

_base_ = ["./energy_fcn-erfnet_cityscapes.py"]
model = dict(
    energy_head=dict(
        score=dict(_delete_=True, type="NearestNeighbours", statistics=_base_.statistics)
    )
)
