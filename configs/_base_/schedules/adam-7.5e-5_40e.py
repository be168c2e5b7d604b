# RPL: 40 epochs of 371 iterations (2975 scenes in batches of 8).
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="Adam", lr=7.5e-5),
    # The layer that is not copied from the pre-trained head learns faster.
    paramwise_cfg=dict(custom_keys={"decode_head.residual_block.output": dict(lr_mult=10.0)}),
)
param_scheduler = [dict(type="PolyLR", power=0.9, begin=0, end=14840, eta_min=1e-8, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=14840, val_interval=371)
