# Start of every recipe on DeepLabV3+ WideResNet38: NVIDIA's cityscapes_best.pth after
# `ood-seg convert-checkpoint`, evaluated at native resolution.
_base_ = [
    "../models/deepwv3plus-wrn38_cityscapes.py",
    "../datasets/evaluation_native.py",
    "../default_runtime.py",
]
load_from = "{{$OOD_SEG_DATA:data}}/weights/deepwv3plus-wrn38_cityscapes.pth"
model = dict(
    freeze=dict(
        # As published: the last three convolutions.
        trained=["decode_head.final.*", "decode_head.conv_seg.*"],
        norm_statistics="fixed",
        dropout="off",
    ),
    energy_head=dict(smoothing=dict(kernel_size=7, sigma=1.0)),
)
