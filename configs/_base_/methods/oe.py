# Outlier exposure: cross entropy of outlier pixels to the uniform distribution.
method = dict(energy_head=dict(losses=[dict(type="OutlierExposureLoss", loss_weight=0.5)]))
