# 40 epochs of 409 iterations (2975 clean and 297 pasted scenes in batches of 8).
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=1e-5))
param_scheduler = [dict(type="PolyLR", power=0.9, begin=0, end=16360, eta_min=1e-8, by_epoch=False)]
train_cfg = dict(type="IterBasedTrainLoop", max_iters=16360, val_interval=409)
