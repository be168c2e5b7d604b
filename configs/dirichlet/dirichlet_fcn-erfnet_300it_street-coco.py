"""Dirichlet prior network (DD) on several layers of a frozen ERFNet, on a CPU."""

_base_ = "../likelihood_ratio/likelihood-ratio_fcn-erfnet_300it_street-coco.py"
model = dict(
    learned_head=dict(out_channels=19),
    energy_head=dict(
        score=dict(_delete_=True, type="DifferentialEntropy"),
        losses=[dict(type="DirichletLoss", concentration=100.0, outlier_weight=1.0)],
    ),
)
