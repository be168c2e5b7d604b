"""Demo, second stage: fine-tuned with pasted drawn objects under the balanced energy loss."""

_base_ = ["energy-oe_fcn-unet-small_200it_demo.py", "../_base_/methods/balanced-energy.py"]
model = _base_.pop("method")
model.energy_head.losses[0].update(margin_in=-7.0, margin_out=-2.0, alpha=3.0, gamma=1.0)
custom_hooks = [*_base_.custom_hooks, dict(type="OutlierPriorHook", num_images=200)]
work_dir = "{{$OOD_SEG_DEMO:demo_output}}/balanced_energy"
