# DeepLabV3+ ResNet-101 (output stride 8) of mmseg's model zoo, 19 Cityscapes classes.
_base_ = "mmseg::_base_/models/deeplabv3plus_r50-d8.py"
norm_cfg = dict(type="BN", requires_grad=True)  # the zoo's SyncBN, for one device
data_preprocessor = dict(size_divisor=8, test_cfg=dict(size_divisor=8))
model = dict(
    type="OODEncoderDecoder",
    data_preprocessor=data_preprocessor,
    pretrained=None,  # a complete checkpoint is loaded
    backbone=dict(depth=101, norm_cfg=norm_cfg),
    decode_head=dict(norm_cfg=norm_cfg, loss_decode=dict(avg_non_ignore=True)),
    auxiliary_head=dict(norm_cfg=norm_cfg, loss_decode=dict(avg_non_ignore=True)),
    energy_head=dict(type="EnergyHead", score=dict(type="Energy", temperature=1.0)),
)
