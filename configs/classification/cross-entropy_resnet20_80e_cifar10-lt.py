"""ResNet-20 trained from scratch on CIFAR-10-LT with cross entropy."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/cifar-resnet20.py",
    "../_base_/datasets/cifar10-lt_32x32.py",
    "../_base_/schedules/sgd_80e_cifar10-lt.py",
]
