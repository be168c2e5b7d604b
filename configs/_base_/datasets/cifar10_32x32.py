# Training on CIFAR-10, 50,000 images, and evaluation.
_base_ = "./cifar10_outliers.py"
known_images = dict(
    type="ClassFolderDataset",
    data_root=_base_.cifar10_root,
    split="train",
    pipeline=_base_.augmented,
)
train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="StreamSampler"),
    dataset=dict(type="SeededSamples", dataset=known_images),
)
