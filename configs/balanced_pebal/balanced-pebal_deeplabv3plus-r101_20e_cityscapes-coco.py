"""Balanced PEBAL on DeepLabV3+ ResNet-101: abstention loss + 0.1 x balanced energy loss."""

_base_ = [
    "../_base_/pretrained/deeplabv3plus-r101_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_900x900.py",
    "../_base_/schedules/adam-1e-5_20e.py",
]
model = dict(
    decode_head=dict(num_classes=20),  # the last one is the abstention
    closed_set_loss=False,  # the outlier loss holds it
    freeze=dict(
        # The layers that follow the fusion, like the published `final`.
        trained=["decode_head.sep_bottleneck.*", "decode_head.conv_seg.*"],
        norm_statistics="fixed",
        dropout="off",
    ),
    energy_head=dict(
        num_classes=19,
        score=dict(type="Energy", temperature=1.0),
        smoothing=dict(kernel_size=7, sigma=1.0),
        losses=[
            dict(type="AbstentionLoss", outlier_weight=0.1, loss_weight=1.0),
            dict(
                type="BalancedEnergyLoss",
                margin_in=-12.0,
                margin_out=-6.0,
                alpha=5.0,
                gamma=3.0,
                loss_weight=0.1,
            ),
            # 0.1 times the released 5e-4 and 3e-6: they are terms of the energy loss there.
            dict(type="BalancedSparsityLoss", alpha=5.0, gamma=3.0, loss_weight=5e-5),
            dict(type="SmoothnessLoss", loss_weight=3e-7),
        ],
    ),
)
custom_hooks = [
    dict(type="RandomStateHook"),
    dict(type="OutlierPriorHook", num_images=10000),
]
default_hooks = dict(checkpoint=dict(interval=409))
