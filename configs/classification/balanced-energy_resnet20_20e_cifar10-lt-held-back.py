"""Balanced energy loss on CIFAR-10-LT with held-back images, to choose alpha and gamma."""

_base_ = "./balanced-energy_resnet20_20e_cifar10-lt.py"
# Every tenth known image is held back, and of the auxiliary classes the validation images.
train_dataloader = dict(
    dataset=dict(known=dict(holdout_every=10), outliers=dict(folders=["train"])),
)
prior_dataset = dict(folders=["train"])
custom_hooks = [
    dict(type="RandomStateHook"),
    dict(type="OutlierPriorHook", num_images=7700),
]
test_dataloader = dict(
    _delete_=True,
    cifar10=dict(
        batch_size=200,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="ClassFolderDataset",
            data_root=_base_.cifar10_root,
            split="train",
            holdout_every=10,
            held_out=True,
            pipeline=_base_.plain,
        ),
    ),
    auxiliary=dict(
        batch_size=200,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(
            type="TinyImageNetDataset",
            data_root=_base_.tiny_imagenet_root,
            split="train",
            folders=["val"],
            pipeline=_base_.resized,
        ),
    ),
)
test_evaluator = dict(
    _delete_=True,
    cifar10=[dict(type="ImageAccuracyMetric", class_counts=_base_.class_counts)],
    auxiliary=[dict(type="ImageAnomalyMetric")],
)
