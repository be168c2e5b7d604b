"""Published RPL checkpoints, converted: smoothed energy of the corrected logits."""

_base_ = "./energy_deepwv3plus-wrn38_cityscapes.py"
model = dict(
    decode_head=dict(type="ResidualPatternHead", wraps="DeepWV3PlusHead", block=dict(channels=256)),
    energy_head=dict(score=dict(type="ResidualEnergy", temperature=1.0)),
)
