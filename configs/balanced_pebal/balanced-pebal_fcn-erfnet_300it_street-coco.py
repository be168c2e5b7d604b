"""ERFNet fine-tuned with pasted COCO objects under balanced PEBAL's losses, on a CPU."""

_base_ = [
    "../pebal/pebal_fcn-erfnet_300it_street-coco.py",
    "../_base_/methods/balanced-pebal.py",
]
model = _base_.pop("method")
model.energy_head.losses[1].update(margin_out=2.0, alpha=3.0, gamma=1.0, loss_weight=0.5)
# 0.5 times the released 5e-4 and 3e-6, which are terms of the energy loss there.
model.energy_head.losses[2].update(alpha=3.0, gamma=1.0, loss_weight=2.5e-4)
model.energy_head.losses[3].loss_weight = 1.5e-6
custom_hooks = [*_base_.custom_hooks, dict(type="OutlierPriorHook", num_images=400)]
