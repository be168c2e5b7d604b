"""Published PEBAL and Balanced Energy checkpoints: 20 channels, the last one unused here."""

_base_ = "./energy_deepwv3plus-wrn38_cityscapes.py"
model = dict(decode_head=dict(num_classes=20))
