"""ERFNet fine-tuned with pasted COCO objects under PEBAL's losses, energy balanced, on a CPU."""

_base_ = ["../pebal/pebal_fcn-erfnet_300it_street-coco.py"]
model = dict(
    energy_head=dict(
        losses=[
            dict(type="AbstentionLoss", outlier_weight=0.1, loss_weight=1.0),
            dict(
                type="BalancedEnergyLoss",
                margin_in=-12.0,
                margin_out=2.0,
                alpha=3.0,
                gamma=1.0,
                loss_weight=0.5,
            ),
            # 0.5 times the released 5e-4 and 3e-6: they are terms of the energy loss there.
            dict(type="BalancedSparsityLoss", alpha=3.0, gamma=1.0, loss_weight=2.5e-4),
            dict(type="SmoothnessLoss", loss_weight=1.5e-6),
        ],
    ),
)
custom_hooks = [
    dict(type="RandomStateHook"),
    dict(type="OutlierPriorHook", num_images=400),
]
