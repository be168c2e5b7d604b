# PEBAL: a twentieth channel abstains, at a cost that depends on the energy.
method = dict(
    decode_head=dict(num_classes=20),  # 19 classes and the abstention
    closed_set_loss=False,  # the cross entropy is part of AbstentionLoss
    energy_head=dict(
        num_classes=19,
        losses=[
            dict(type="AbstentionLoss", outlier_weight=0.1, loss_weight=1.0),
            dict(type="EnergyLoss", margin_in=-12.0, margin_out=-6.0, loss_weight=0.1),
            # 0.1 times the released 5e-4 and 3e-6, which are terms of the energy loss there.
            dict(type="SparsityLoss", loss_weight=5e-5),
            dict(type="SmoothnessLoss", loss_weight=3e-7),
        ],
    ),
)
