# Fine-tuning as published: SGD, 20 epochs of 97 batches, learning rate 1e-3 to 1e-6 by cosine.
epoch = 97
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4),
)
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=20 * epoch, eta_min=1e-6, by_epoch=False),
]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=20 * epoch)
