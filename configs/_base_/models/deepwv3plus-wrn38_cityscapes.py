# DeepLabV3+ on WideResNet38 as NVIDIA, Meta-OoD, PEBAL and Balanced Energy publish it.
# A checkpoint with an abstention class needs decode_head=dict(num_classes=20).
# For training, set data_preprocessor=dict(size=CROP); nothing is padded here.
norm_cfg = dict(type="BN", requires_grad=True)
data_preprocessor = dict(
    type="SegDataPreProcessor",
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size_divisor=None,
)
model = dict(
    type="OODEncoderDecoder",
    data_preprocessor=data_preprocessor,
    backbone=dict(type="WideResNet38", norm_cfg=norm_cfg, with_cp=False),
    decode_head=dict(
        type="DeepWV3PlusHead",
        in_channels=(128, 4096),
        in_index=(0, 1),
        channels=256,
        low_channels=48,
        dilations=(12, 24, 36),
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=True,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0, avg_non_ignore=True),
    ),
    energy_head=dict(type="EnergyHead", num_classes=19, score=dict(type="Energy", temperature=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
