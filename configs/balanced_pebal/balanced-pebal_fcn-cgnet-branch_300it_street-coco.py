"""Balanced PEBAL in an anomaly branch of CGNet: the recommended fork."""

_base_ = [
    "../pebal/pebal_fcn-cgnet-branch_300it_street-coco.py",
    "../_base_/methods/balanced-pebal.py",
]
model = _base_.pop("method")
# The numbers chosen for ERFNet; see balanced-pebal_fcn-erfnet_300it_street-coco.
model.energy_head.losses[1].update(margin_out=2.0, alpha=3.0, gamma=1.0, loss_weight=0.5)
model.energy_head.losses[2].update(alpha=3.0, gamma=1.0, loss_weight=2.5e-4)
model.energy_head.losses[3].loss_weight = 1.5e-6
custom_hooks = [*_base_.custom_hooks, dict(type="OutlierPriorHook", num_images=400)]
