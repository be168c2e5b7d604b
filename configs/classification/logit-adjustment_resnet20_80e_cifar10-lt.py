"""ResNet-20 trained from scratch on CIFAR-10-LT with logit-adjusted cross entropy."""

_base_ = "./cross-entropy_resnet20_80e_cifar10-lt.py"
model = dict(class_counts=_base_.class_counts, logit_adjustment="training")
