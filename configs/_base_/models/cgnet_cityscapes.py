# CGNet M3N21 on the 19 Cityscapes classes, mmseg's config with plain batch norm (one device).
norm_cfg = dict(type="BN", eps=1e-3, requires_grad=True)
data_preprocessor = dict(
    type="SegDataPreProcessor",
    mean=[72.39239876, 82.90891754, 73.15835921],
    std=[1.0, 1.0, 1.0],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size_divisor=8,
    test_cfg=dict(size_divisor=8),
)
model = dict(
    type="OODEncoderDecoder",
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type="CGNet",
        norm_cfg=norm_cfg,
        in_channels=3,
        num_channels=(32, 64, 128),
        num_blocks=(3, 21),
        dilations=(2, 4),
        reductions=(8, 16),
    ),
    decode_head=dict(
        type="FCNHead",
        in_channels=256,
        in_index=2,
        channels=256,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0,
        num_classes=19,
        norm_cfg=norm_cfg,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0, avg_non_ignore=True),
    ),
    energy_head=dict(type="EnergyHead", score=dict(type="Energy", temperature=1.0)),
    train_cfg=dict(sampler=None),
    test_cfg=dict(mode="whole"),
)
