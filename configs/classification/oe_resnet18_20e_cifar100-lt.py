"""ResNet-18, CIFAR-100-LT: fine-tuning with outlier exposure."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/cifar-resnet18.py",
    "../_base_/datasets/cifar100-lt_outliers_32x32.py",
    "../_base_/schedules/sgd-1e-3_20e_cifar100-lt.py",
]
load_from = "work_dirs/cross-entropy_resnet18_80e_cifar100-lt/iter_6800.pth"
model = dict(
    network=dict(num_classes=100),
    energy_head=dict(
        losses=[
            dict(type="OutlierExposureLoss", loss_weight=0.5),
        ],
    ),
)
