# The recommended anomaly branch of ERFNet: third encoder stage, decoder and head.
# The frozen part is the teacher of a distillation.
branch = dict(
    anomaly_branch=dict(
        fork=[
            "backbone.encoder.[789].*",
            "backbone.encoder.1[0-5].*",
            "backbone.decoder.*",
            "decode_head.*",
        ],
    ),
    distillation=dict(checkpoint=None),
)
