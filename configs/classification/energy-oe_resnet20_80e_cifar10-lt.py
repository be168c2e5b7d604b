"""ResNet-20 trained from scratch on CIFAR-10-LT with the energy loss."""

_base_ = "./energy-oe_resnet20_20e_cifar10-lt.py"
load_from = None
optim_wrapper = dict(optimizer=dict(lr=0.1))
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=80 * 97, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(max_iters=80 * 97)
