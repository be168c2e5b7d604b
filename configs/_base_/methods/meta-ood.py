# Meta-OoD: the cross entropy of known pixels and that of outlier pixels to the uniform
# distribution in one sum; all parameters are trained.
method = dict(
    closed_set_loss=False,  # the cross entropy is part of MetaOODLoss
    freeze=dict(_delete_=True, norm_statistics="fixed", dropout="off"),
    energy_head=dict(losses=[dict(type="MetaOODLoss", outlier_weight=0.9, loss_weight=1.0)]),
)
