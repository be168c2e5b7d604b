"""ResNet-20, CIFAR10-LT: fine-tuning with the balanced energy loss."""

_base_ = ["./oe_resnet20_20e_cifar10-lt.py", "../_base_/methods/balanced-energy_cifar.py"]
model = _base_.pop("method")
model.energy_head.losses[0].gamma = 0.75  # published for ResNet-18, as alpha is
# All 11,550 auxiliary images, without augmentation.
custom_hooks = [*_base_.custom_hooks, dict(type="OutlierPriorHook", num_images=11550)]
