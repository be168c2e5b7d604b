# EnergyOE with the published margins of CIFAR.
method = dict(
    energy_head=dict(
        losses=[
            # The published weight of 0.1, twice, as the loss here is the mean of both hinges.
            dict(type="EnergyLoss", margin_in=-23.0, margin_out=-5.0, loss_weight=0.2),
        ],
    ),
)
