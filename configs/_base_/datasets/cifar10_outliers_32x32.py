# Training on batches of 128 images of CIFAR-10 and 256 auxiliary outliers, and evaluation.
_base_ = "./cifar10_32x32.py"
train_dataloader = dict(
    batch_size=128 + 256,
    dataset=dict(_delete_=True, known=_base_.known_images, **_base_.outlier_batches),
)
