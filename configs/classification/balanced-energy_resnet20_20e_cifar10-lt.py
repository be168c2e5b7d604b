"""ResNet-20, CIFAR-10-LT: fine-tuning with the balanced energy loss."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/cifar-resnet20.py",
    "../_base_/datasets/cifar10-lt_outliers_32x32.py",
    "../_base_/schedules/sgd-1e-3_20e_cifar10-lt.py",
]
load_from = "work_dirs/cross-entropy_resnet20_80e_cifar10-lt/iter_7760.pth"
model = dict(
    energy_head=dict(
        losses=[
            # alpha and gamma are those published for ResNet-18.
            dict(
                type="BalancedEnergyLoss",
                margin_in=-23.0,
                margin_out=-5.0,
                alpha=10.0,
                gamma=0.75,
                loss_weight=0.2,  # the published 0.1, twice: the mean of both hinges
            ),
        ],
    ),
)
# All 11,550 auxiliary images, without augmentation.
custom_hooks = [
    dict(type="RandomStateHook"),
    dict(type="OutlierPriorHook", num_images=11550),
]
