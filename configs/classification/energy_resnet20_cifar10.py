"""ResNet-20 with published CIFAR-10 weights, scored by its free energy; no training."""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/cifar-resnet20.py",
    "../_base_/datasets/cifar10_outliers.py",
]
load_from = "{{$OOD_SEG_DATA:data}}/cifar10/weights/resnet20-12fca82f.th"
fit_options = {
    "multi-mahalanobis": dict(layers=["layer1", "layer2", "layer3"]),
    "gram": dict(layers=["layer1", "layer2", "layer3"]),
}
