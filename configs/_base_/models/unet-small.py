# A small U-Net at half resolution (0.45 M parameters): learns small images in a minute or two
# on a CPU, and its skip connections keep the score maps crisp.
norm_cfg = dict(type="BN", requires_grad=True)
data_preprocessor = dict(
    type="SegDataPreProcessor",
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    bgr_to_rgb=True,
    pad_val=0,
    seg_pad_val=255,
    size_divisor=16,
    test_cfg=dict(size_divisor=16),
)
model = dict(
    type="OODEncoderDecoder",
    data_preprocessor=data_preprocessor,
    backbone=dict(
        type="UNet",
        base_channels=16,
        num_stages=4,
        strides=(2, 1, 1, 1),
        enc_num_convs=(2, 2, 2, 2),
        dec_num_convs=(2, 2, 2),
        downsamples=(True, True, True),
        enc_dilations=(1, 1, 1, 1),
        dec_dilations=(1, 1, 1),
        norm_cfg=norm_cfg,
        act_cfg=dict(type="ReLU"),
        upsample_cfg=dict(type="InterpConv"),
    ),
    decode_head=dict(
        type="FCNHead",
        in_index=3,
        in_channels=16,
        channels=16,
        num_convs=0,
        concat_input=False,
        dropout_ratio=0.0,
        num_classes=19,
        norm_cfg=norm_cfg,
        align_corners=False,
        # mmseg's 0.01 costs a short training its first hundred iterations.
        init_cfg=dict(type="Normal", std=0.2, override=dict(name="conv_seg")),
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0, avg_non_ignore=True),
    ),
    energy_head=dict(type="EnergyHead", score=dict(type="Energy", temperature=1.0)),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
