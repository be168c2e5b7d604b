"""ResNet-18, CIFAR-100: fine-tuning with the balanced energy loss."""

_base_ = ["./oe_resnet18_20e_cifar100.py", "../_base_/methods/balanced-energy_cifar.py"]
model = _base_.pop("method")
model.energy_head.losses[0].update(margin_in=-27.0, alpha=100.0, gamma=0.005)
# All 11,550 auxiliary images, without augmentation.
custom_hooks = [*_base_.custom_hooks, dict(type="OutlierPriorHook", num_images=11550)]
