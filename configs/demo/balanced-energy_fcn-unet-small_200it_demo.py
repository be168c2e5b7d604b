"""Demo, second stage: fine-tuned with pasted drawn objects under the balanced energy loss."""

_base_ = ["energy-oe_fcn-unet-small_200it_demo.py"]
model = dict(
    energy_head=dict(
        losses=[
            dict(
                type="BalancedEnergyLoss",
                margin_in=-7.0,
                margin_out=-2.0,
                alpha=3.0,
                gamma=1.0,
                loss_weight=0.1,
            ),
        ],
    ),
)
custom_hooks = [
    dict(type="RandomStateHook"),
    dict(type="OutlierPriorHook", num_images=200),
]
work_dir = "{{$OOD_SEG_DEMO:demo_output}}/balanced_energy"
