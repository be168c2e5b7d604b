# Training on CIFAR-10-LT, the first 5000 to 50 images of each class, and evaluation.
_base_ = "./cifar10_outliers.py"
imbalance = 0.01
class_counts = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]  # 12,406 images
known_images = dict(
    type="ClassFolderDataset",
    data_root=_base_.cifar10_root,
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
    cifar10=[dict(type="ImageAccuracyMetric", class_counts=class_counts)],
)
