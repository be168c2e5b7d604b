"""DenseHybrid as released: a head beside a fork of ERFNet, regulariser without gradient."""

_base_ = [
    "../likelihood_ratio/likelihood-ratio_fcn-erfnet_300it_street-coco.py",
    "../_base_/forks/erfnet.py",
]
model = _base_.pop("branch")  # all of it is trained, as published; labels stay
model.update(
    distillation=None,
    freeze=dict(_delete_=True, norm_statistics="fixed", dropout="off"),
    energy_head=dict(
        score=dict(_delete_=True, type="DenseHybrid"),
        losses=[
            dict(
                type="DenseHybridLoss",
                regulariser_weight=0.03,
                head_weight=0.3,
                detach_regulariser=True,
            ),
        ],
    ),
)
optim_wrapper = dict(
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(custom_keys=dict(learned_head=dict(lr_mult=5.0))),  # new weights
)
