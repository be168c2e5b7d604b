# Balanced EnergyOE: outliers predicted as a frequent class weigh more and are pushed further.
# A leaf adds the `OutlierPriorHook` that sets the prior.
method = dict(
    energy_head=dict(
        losses=[
            dict(
                type="BalancedEnergyLoss",
                margin_in=-12.0,
                margin_out=-6.0,
                alpha=5.0,
                gamma=3.0,
                loss_weight=0.1,
            ),
        ],
    ),
)
