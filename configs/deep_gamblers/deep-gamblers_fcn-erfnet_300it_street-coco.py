"""Deep Gamblers: an abstention of fixed reward beside a frozen ERFNet, on a CPU."""

_base_ = "../likelihood_ratio/likelihood-ratio_fcn-erfnet_300it_street-coco.py"
model = dict(
    learned_head=dict(out_channels=1),
    energy_head=dict(
        score=dict(_delete_=True, type="ExtraClass"),
        losses=[dict(type="AbstentionLoss", outlier_weight=0.1, reward=4.5)],
    ),
)
