# What every recipe on DeepLabV3+ WideResNet38 starts from: NVIDIA's cityscapes_best.pth after
# `ood-seg convert-checkpoint`, evaluated at native resolution.
_base_ = [
    "../models/deepwv3plus-wrn38_cityscapes.py",
    "../datasets/evaluation_native.py",
    "../default_runtime.py",
]
load_from = "{{$OOD_SEG_DATA:data}}/weights/deepwv3plus-wrn38_cityscapes.pth"
