# ResNet-18 for images of 32x32; mean and std are those of CIFAR-10.
model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(
        type="ImgDataPreprocessor",
        mean=[125.3, 123.0, 113.9],
        std=[63.0, 62.1, 66.7],
        bgr_to_rgb=True,
    ),
    network=dict(type="CifarResNet18", num_classes=10),
    energy_head=dict(type="EnergyHead", score=dict(type="Energy")),
)
