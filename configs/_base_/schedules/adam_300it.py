# Adam with polynomial decay, 300 iterations; made for a CPU.
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-4))
param_scheduler = [dict(type="PolyLR", power=0.9, begin=0, end=300, eta_min=1e-7, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=300, val_interval=300)
