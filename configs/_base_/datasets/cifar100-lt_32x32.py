# Training on CIFAR-100-LT, the first 500 to 5 images of each class, and evaluation.
_base_ = "./cifar100_outliers.py"
imbalance = 0.01
# 500, 477, 455 ... 5: 10,847 images.
class_counts = [int(500 * 0.01 ** (index / 99)) for index in range(100)]
known_images = dict(
    type="CifarBatchesDataset",
    version="cifar100",
    data_root=_base_.cifar100_root,
    split="train",
    imbalance=imbalance,
    pipeline=_base_.augmented,
)
train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="StreamSampler"),
    dataset=dict(type="SeededSamples", dataset=known_images),
)
fit_dataloader = dict(dataset=dict(imbalance=imbalance))
test_evaluator = dict(
    cifar100=[dict(type="ImageAccuracyMetric", class_counts=class_counts)],
)
