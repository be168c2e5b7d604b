# EnergyOE: two squared hinges on the energy.
method = dict(
    energy_head=dict(
        losses=[dict(type="EnergyLoss", margin_in=-12.0, margin_out=-6.0, loss_weight=0.1)],
    ),
)
