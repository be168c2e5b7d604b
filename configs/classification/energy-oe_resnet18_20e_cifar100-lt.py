"""ResNet-18, CIFAR-100-LT: fine-tuning with the energy loss (EnergyOE)."""

_base_ = ["./oe_resnet18_20e_cifar100-lt.py", "../_base_/methods/energy-oe_cifar.py"]
model = _base_.pop("method")
model.energy_head.losses[0].margin_in = -27.0
