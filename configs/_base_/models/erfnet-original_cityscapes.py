# ERFNet with its authors' classifier: 19 classes and void, at full resolution.
_base_ = "./erfnet_cityscapes.py"
model = dict(
    decode_head=dict(
        _delete_=True,
        type="ERFNetHead",
        in_channels=16,
        num_classes=20,
        align_corners=False,
        loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0, avg_non_ignore=True),
    ),
    energy_head=dict(num_classes=19),
)
