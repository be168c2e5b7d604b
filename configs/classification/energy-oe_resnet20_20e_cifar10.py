"""ResNet-20, CIFAR10: fine-tuning with the energy loss (EnergyOE)."""

_base_ = ["./oe_resnet20_20e_cifar10.py", "../_base_/methods/energy-oe_cifar.py"]
model = _base_.pop("method")
