# ERFNet on the 19 Cityscapes classes; input RGB / 255, made for 1024x512.
norm_cfg = dict(type="BN", eps=1e-3, requires_grad=True)
data_preprocessor = dict(
    type="SegDataPreProcessor",
    mean=[0.0, 0.0, 0.0],
    std=[255.0, 255.0, 255.0],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size_divisor=8,
    test_cfg=dict(size_divisor=8),
)
model = dict(
    type="OODEncoderDecoder",
    data_preprocessor=data_preprocessor,
    backbone=dict(type="ERFNet", norm_cfg=norm_cfg),
    decode_head=dict(
        type="FCNHead",
        in_channels=16,
        channels=16,
        num_convs=0,
        concat_input=False,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0, avg_non_ignore=True),
    ),
    energy_head=dict(type="EnergyHead", score=dict(type="Energy", temperature=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
