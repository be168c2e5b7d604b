"""ERFNet fine-tuned with pasted COCO objects under Meta-OoD's entropy loss, on a CPU."""

_base_ = [
    "../energy_oe/energy-oe_fcn-erfnet_300it_street-coco.py",
    "../_base_/methods/meta-ood.py",
]
model = _base_.pop("method")
# 190 = 19 / (1 - 0.9): the cross entropy in it weighs 1, as in the other configs.
model.energy_head.losses[0].loss_weight = 190.0
