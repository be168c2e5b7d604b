# Training on CIFAR-100, 50,000 images, and evaluation.
_base_ = "./cifar100_outliers.py"
known_images = dict(
    type="CifarBatchesDataset",
    version="cifar100",
    data_root=_base_.cifar100_root,
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
