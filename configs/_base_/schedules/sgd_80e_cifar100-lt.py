# From scratch: SGD, 80 epochs of 85 batches of 128 known images (10,847), learning rate 0.1 to 0.
_base_ = "./sgd_80e_cifar10-lt.py"
epoch = 85
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=80 * epoch, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(max_iters=80 * epoch)
