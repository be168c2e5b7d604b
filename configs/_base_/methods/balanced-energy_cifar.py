# Balanced EnergyOE with the published margins and alpha of CIFAR; a leaf states gamma, and adds the
# `OutlierPriorHook` that sets the prior.
method = dict(
    energy_head=dict(
        losses=[
            dict(
                type="BalancedEnergyLoss",
                margin_in=-23.0,
                margin_out=-5.0,
                alpha=10.0,
                loss_weight=0.2,  # the published 0.1, twice: the mean of both hinges
            ),
        ],
    ),
)
