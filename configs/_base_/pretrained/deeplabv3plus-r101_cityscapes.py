# What every recipe on DeepLabV3+ ResNet-101 starts from: the checkpoint of mmsegmentation's model
# zoo, evaluated at native resolution.
_base_ = [
    "../models/deeplabv3plus-r101_cityscapes.py",
    "../datasets/evaluation_native.py",
    "../default_runtime.py",
]
load_from = (
    "{{$OOD_SEG_DATA:data}}/weights/"
    "deeplabv3plus_r101-d8_512x1024_80k_cityscapes_20200606_114143-068fcfe9.pth"
)
# The auxiliary head of the checkpoint has no part in any method.
model = dict(auxiliary_head=None)
allowed_key_mismatch = [r"^auxiliary_head\."]
