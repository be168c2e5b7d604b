# Likelihood ratio (UEM): a head beside the frozen segmentor learns the log odds of an outlier.
# A leaf states the layers that the head reads.
method = dict(
    learned_head=dict(type="LearnedHead", out_channels=2),
    freeze=dict(trained=["learned_head.*"], norm_statistics="fixed", dropout="off"),
    closed_set_loss=False,
    energy_head=dict(
        score=dict(_delete_=True, type="LikelihoodRatio"),
        losses=[dict(type="LikelihoodRatioLoss")],
    ),
)
