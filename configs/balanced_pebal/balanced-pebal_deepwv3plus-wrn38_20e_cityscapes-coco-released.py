"""Balanced PEBAL with the slips of its released code, for comparison; see docs/recipes.md."""

_base_ = [
    "../_base_/pretrained/deepwv3plus-wrn38_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_900x900_released.py",
    "../_base_/schedules/adam-1e-5_20e.py",
]
model = dict(
    data_preprocessor=dict(size=(900, 900)),
    decode_head=dict(num_classes=20),  # the last one is the abstention
    closed_set_loss=False,  # the outlier loss holds it
    freeze=dict(
        # As published: the last three convolutions.
        trained=["decode_head.final.*", "decode_head.conv_seg.*"],
        norm_statistics="updated",
        dropout="on",
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
    dict(type="OutlierPriorHook", source="cityscapes-coco-wrn38"),
]
default_hooks = dict(checkpoint=dict(interval=409))
# 20 x 371 iterations, at the smallest rate from then on: the pasted scenes are not counted.
param_scheduler = [dict(type="PolyLR", power=0.9, begin=0, end=7420, eta_min=1e-8, by_epoch=False)]
