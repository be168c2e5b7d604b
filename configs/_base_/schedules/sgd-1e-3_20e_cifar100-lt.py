# Fine-tuning as published: SGD, 20 epochs of 85 batches, learning rate 1e-3 to 1e-6 by cosine.
_base_ = "./sgd-1e-3_20e_cifar10-lt.py"
epoch = 85
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=20 * epoch, eta_min=1e-6, by_epoch=False),
]
train_cfg = dict(max_iters=20 * epoch)
