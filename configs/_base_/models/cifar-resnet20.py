# ResNet-20 for images of 32x32, normalised as the published weights expect.
model = dict(
    type="ImageClassifier",
    data_preprocessor=dict(
        type="ImgDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    network=dict(type="CifarResNet20", num_classes=10),
    energy_head=dict(type="EnergyHead", score=dict(type="Energy")),
)
