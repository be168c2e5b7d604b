"""Balanced EnergyOE on ERFNet: cross entropy + 0.1 x balanced energy loss."""

_base_ = [
    "../_base_/pretrained/erfnet_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_900x900.py",
    "../_base_/schedules/adam-1e-5_40e.py",
]
model = dict(
    freeze=dict(
        # Its decoder; the classifier alone is one 1x1 convolution.
        trained=["backbone.decoder.*", "decode_head.*"],
        norm_statistics="fixed",
        dropout="off",
    ),
    energy_head=dict(
        score=dict(type="Energy", temperature=1.0),
        smoothing=dict(kernel_size=7, sigma=1.0),
        losses=[
            dict(
                type="BalancedEnergyLoss",
                margin_in=-12.0,
                margin_out=2.0,
                alpha=5.0,
                gamma=3.0,
                loss_weight=0.1,
            ),
        ],
    ),
)
custom_hooks = [
    dict(type="RandomStateHook"),
    dict(type="OutlierPriorHook", num_images=10000),
]
default_hooks = dict(checkpoint=dict(interval=409))
