"""ERFNet fine-tuned with pasted COCO objects under PEBAL's losses, on a CPU."""

_base_ = [
    "../energy_oe/energy-oe_fcn-erfnet_300it_street-coco.py",
    "../_base_/methods/pebal.py",
]
model = _base_.pop("method")
# With 0.05, as beside a cross entropy, all energies fall to zero: abstaining is rewarded most
# there, and no other term of these losses holds the logits up.
model.energy_head.losses[1].update(margin_out=2.0, loss_weight=0.5)
# 0.5 times the released 5e-4 and 3e-6, which are terms of the energy loss there.
model.energy_head.losses[2].loss_weight = 2.5e-4
model.energy_head.losses[3].loss_weight = 1.5e-6
