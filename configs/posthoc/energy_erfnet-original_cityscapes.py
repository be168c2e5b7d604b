"""ERFNet of its authors, converted, scored by its free energy over the 19 classes."""

_base_ = [
    "../_base_/models/erfnet-original_cityscapes.py",
    "../_base_/datasets/evaluation_1024x512.py",
    "../_base_/default_runtime.py",
]
model = dict(energy_head=dict(score=dict(type="Energy", temperature=1.0)))
