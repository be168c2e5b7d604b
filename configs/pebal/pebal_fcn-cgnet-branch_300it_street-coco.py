"""PEBAL in an anomaly branch of CGNet: the recommended fork."""

_base_ = [
    "../energy_oe/energy-oe_fcn-cgnet-branch_300it_street-coco.py",
    "../_base_/methods/pebal.py",
]
model = _base_.pop("method")
# The numbers chosen for ERFNet; see pebal_fcn-erfnet_300it_street-coco.
model.energy_head.losses[1].update(margin_out=2.0, loss_weight=0.5)
model.energy_head.losses[2].loss_weight = 2.5e-4
model.energy_head.losses[3].loss_weight = 1.5e-6
