# Start of every recipe on DeepLabV3+ ResNet-101: the checkpoint of mmsegmentation's model zoo,
# evaluated at native resolution.
_base_ = [
    "../models/deeplabv3plus-r101_cityscapes.py",
    "../datasets/evaluation_native.py",
    "../default_runtime.py",
]
load_from = (
    "{{$OOD_SEG_DATA:data}}/weights/"
    "deeplabv3plus_r101-d8_512x1024_80k_cityscapes_20200606_114143-068fcfe9.pth"
)
allowed_key_mismatch = [r"^auxiliary_head\."]
model = dict(
    auxiliary_head=None,  # no method uses it
    freeze=dict(
        # The layers after the fusion, like the published `final`.
        trained=["decode_head.sep_bottleneck.*", "decode_head.conv_seg.*"],
        norm_statistics="fixed",
        dropout="off",
    ),
    energy_head=dict(smoothing=dict(kernel_size=7, sigma=1.0)),
)
