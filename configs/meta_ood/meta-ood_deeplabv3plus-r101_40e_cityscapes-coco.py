"""Meta-OoD's entropy loss on DeepLabV3+ ResNet-101, all parameters trained."""

_base_ = [
    "../_base_/pretrained/deeplabv3plus-r101_cityscapes.py",
    "../_base_/datasets/cityscapes-coco_900x900.py",
    "../_base_/schedules/adam-1e-5_40e.py",
]
model = dict(
    closed_set_loss=False,  # the outlier loss holds it
    freeze=dict(norm_statistics="fixed", dropout="off"),  # all parameters are trained
    energy_head=dict(
        score=dict(type="Energy", temperature=1.0),
        smoothing=dict(kernel_size=7, sigma=1.0),
        losses=[
            dict(type="MetaOODLoss", outlier_weight=0.9, loss_weight=1.0),
        ],
    ),
)
default_hooks = dict(checkpoint=dict(interval=409))
