"""ERFNet fine-tuned with pasted COCO objects under the energy loss (EnergyOE), on a CPU."""

_base_ = [
    "../_base_/pretrained/erfnet_cityscapes.py",
    "../_base_/datasets/street_coco_512x384.py",
    "../_base_/schedules/adam_300it.py",
]
model = dict(
    freeze=dict(norm_statistics="fixed", dropout="off"),
    distillation=dict(checkpoint=_base_.load_from, weight=1.0, channels_last=True),
    energy_head=dict(
        losses=[dict(type="EnergyLoss", margin_in=-12.0, margin_out=2.0, loss_weight=0.05)],
    ),
)
