# Training on batches of 128 images of CIFAR-100-LT and 256 auxiliary outliers, and evaluation.
_base_ = "./cifar100-lt_32x32.py"
outlier_images = dict(
    type="TinyImageNetDataset",
    data_root=_base_.tiny_imagenet_root,
    split="train",
    pipeline=_base_.augmented_outliers,
)
train_dataloader = dict(
    batch_size=128 + 256,
    dataset=dict(
        _delete_=True,
        type="KnownWithOutliers",
        known=_base_.known_images,
        outliers=outlier_images,
        num_known=128,
        num_outliers=256,
    ),
)
