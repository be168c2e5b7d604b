"""ResNet-18 trained from scratch on CIFAR-100-LT with cross entropy."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/cifar-resnet18.py",
    "../_base_/datasets/cifar100-lt_32x32.py",
    "../_base_/schedules/sgd_80e_cifar100-lt.py",
]
model = dict(network=dict(num_classes=100))
