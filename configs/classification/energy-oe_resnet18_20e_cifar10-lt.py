"""ResNet-18, CIFAR10-LT: fine-tuning with the energy loss (EnergyOE)."""

_base_ = ["./oe_resnet18_20e_cifar10-lt.py", "../_base_/methods/energy-oe_cifar.py"]
model = _base_.pop("method")
