"""Published DenseHybrid checkpoints, converted: the hybrid score, not smoothed."""

_base_ = "./energy_deepwv3plus-wrn38_cityscapes.py"
model = dict(
    decode_head=dict(type="DenseHybridHead"),
    energy_head=dict(score=dict(_delete_=True, type="DenseHybrid"), smoothing=None),
)
