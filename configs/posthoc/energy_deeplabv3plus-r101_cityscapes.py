"""mmseg's DeepLabV3+ R101 checkpoint, scored by its free energy; give the zoo's file to `test`."""

_base_ = [
    "../_base_/models/deeplabv3plus-r101_cityscapes.py",
    "../_base_/datasets/evaluation_1024x512.py",
    "../_base_/default_runtime.py",
]
model = dict(energy_head=dict(score=dict(type="Energy", temperature=1.0)))
