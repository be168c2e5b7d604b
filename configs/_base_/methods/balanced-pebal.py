# Balanced PEBAL: PEBAL with the balanced energy loss.
# A leaf adds the `OutlierPriorHook` that sets the prior.
_base_ = "./pebal.py"
method = dict(
    energy_head=dict(
        losses=[
            _base_.method.energy_head.losses[0],
            dict(
                type="BalancedEnergyLoss",
                margin_in=-12.0,
                margin_out=-6.0,
                alpha=5.0,
                gamma=3.0,
                loss_weight=0.1,
            ),
            dict(type="BalancedSparsityLoss", alpha=5.0, gamma=3.0, loss_weight=5e-5),
            _base_.method.energy_head.losses[3],
        ],
    ),
)
