"""ERFNet fine-tuned with pasted COCO objects under the balanced energy loss, on a CPU."""

_base_ = ["../energy_oe/energy-oe_fcn-erfnet_300it_street-coco.py"]
model = dict(
    energy_head=dict(
        losses=[
            dict(
                type="BalancedEnergyLoss",
                margin_in=-12.0,
                margin_out=2.0,
                alpha=3.0,
                gamma=1.0,
                loss_weight=0.05,
            ),
        ],
    ),
)
custom_hooks = [
    dict(type="RandomStateHook"),
    dict(type="OutlierPriorHook", num_images=400),
]
