"""EnergyOE in an anomaly branch of CGNet; the recommended fork: second stage and head."""

_base_ = [
    "../_base_/pretrained/cgnet_cityscapes.py",
    "../_base_/datasets/street_coco_512x384.py",
    "../_base_/schedules/adam_300it.py",
]
model = dict(
    anomaly_branch=dict(
        fork=["backbone.level2.*", "backbone.norm_prelu_2.*", "decode_head.*"],
    ),
    freeze=dict(norm_statistics="fixed", dropout="off"),
    distillation=dict(weight=1.0),  # the frozen part is the teacher
    energy_head=dict(
        # The numbers chosen for ERFNet.
        losses=[dict(type="EnergyLoss", margin_in=-12.0, margin_out=2.0, loss_weight=0.05)],
    ),
)
