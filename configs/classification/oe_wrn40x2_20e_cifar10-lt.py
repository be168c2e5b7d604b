"""WideResNet-40-2, CIFAR-10-LT: fine-tuning with outlier exposure."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/cifar-wrn40x2.py",
    "../_base_/datasets/cifar10-lt_outliers_32x32.py",
    "../_base_/schedules/sgd-1e-3_20e_cifar10-lt.py",
]
load_from = "work_dirs/cross-entropy_wrn40x2_80e_cifar10-lt/iter_7760.pth"
model = dict(
    energy_head=dict(
        losses=[
            dict(type="OutlierExposureLoss", loss_weight=0.5),
        ],
    ),
)
