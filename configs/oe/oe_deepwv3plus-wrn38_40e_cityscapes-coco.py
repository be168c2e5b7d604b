"""Outlier exposure on DeepLabV3+ WideResNet38: cross entropy + 0.5 x uniform-target loss."""

_base_ = [
    "../_base_/pretrained/deepwv3plus-wrn38_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_900x900.py",
    "../_base_/schedules/adam-1e-5_40e.py",
]
model = dict(
    data_preprocessor=dict(size=(900, 900)),
    freeze=dict(
        # As published: the last three convolutions.
        trained=["decode_head.final.*", "decode_head.conv_seg.*"],
        norm_statistics="fixed",
        dropout="off",
    ),
    energy_head=dict(
        score=dict(type="Energy", temperature=1.0),
        smoothing=dict(kernel_size=7, sigma=1.0),
        losses=[
            dict(type="OutlierExposureLoss", loss_weight=0.5),
        ],
    ),
)
default_hooks = dict(checkpoint=dict(interval=409))
