"""Balanced EnergyOE in an anomaly branch of CGNet: the recommended fork."""

_base_ = [
    "../energy_oe/energy-oe_fcn-cgnet-branch_300it_street-coco.py",
    "../_base_/methods/balanced-energy.py",
]
model = _base_.pop("method")
model.energy_head.losses[0].update(margin_out=2.0, alpha=3.0, gamma=1.0, loss_weight=0.05)
custom_hooks = [*_base_.custom_hooks, dict(type="OutlierPriorHook", num_images=400)]
