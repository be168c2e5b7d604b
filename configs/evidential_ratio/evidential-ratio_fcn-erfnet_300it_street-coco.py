"""Evidential ratio (ULRE): a head on several layers of a frozen ERFNet, on a CPU."""

_base_ = "../likelihood_ratio/likelihood-ratio_fcn-erfnet_300it_street-coco.py"
model = dict(
    learned_head=dict(out_channels=2),
    energy_head=dict(
        score=dict(_delete_=True, type="EvidentialRatio"),
        smoothing=dict(kernel_size=7, sigma=1.0),
        # The penalty grows over the whole training, as released.
        losses=[dict(type="EvidentialLoss", kl_weight=1.0, annealing=300)],
    ),
)
