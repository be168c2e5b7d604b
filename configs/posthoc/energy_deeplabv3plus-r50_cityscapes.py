"""mmseg's DeepLabV3+ R50 checkpoint, scored by its free energy; give the zoo's file to `test`."""

_base_ = ["./energy_deeplabv3plus-r101_cityscapes.py"]
model = dict(backbone=dict(depth=50))
