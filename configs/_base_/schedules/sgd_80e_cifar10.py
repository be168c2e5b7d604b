# From scratch: SGD, 80 epochs of 391 batches of 128 known images (50,000), learning rate 0.1 to 0.
epoch = 391
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4),
)
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=80 * epoch, eta_min=0.0, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=80 * epoch)
