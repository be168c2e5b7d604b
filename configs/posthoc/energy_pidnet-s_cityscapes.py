"""mmseg's PIDNet-S checkpoint, scored by its free energy; give the zoo's file to `test`."""

_base_ = [
    "../_base_/models/pidnet-s_cityscapes.py",
    "../_base_/datasets/evaluation_1024x512.py",
    "../_base_/default_runtime.py",
]
