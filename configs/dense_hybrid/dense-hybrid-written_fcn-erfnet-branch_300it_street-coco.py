"""DenseHybrid as written in its paper: the regulariser lowers the likelihood of outliers."""

_base_ = "./dense-hybrid_fcn-erfnet-branch_300it_street-coco.py"
model = dict(
    energy_head=dict(
        losses=[
            dict(
                type="DenseHybridLoss",
                regulariser_weight=0.03,
                head_weight=0.3,
                detach_regulariser=False,
            ),
        ],
    ),
)
