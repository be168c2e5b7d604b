"""Classification networks for 32x32 images, with the parameter names of their released code.

Each names its classifier, whose input is the layer `penultimate` of the detectors, and the layers
that a feature ensemble reads.
"""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the shortcut.

    Args:
        in_channels, channels: of input and output.
        stride: of the first convolution.
        padded_shortcut: where the size changes, the shortcut is a subsampled input with zero
            channels on both sides (option A of He et al.), without parameters; else a 1x1
            convolution with batch norm (option B).
    """

    def __init__(
        self, in_channels: int, channels: int, stride: int, *, padded_shortcut: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.added = stride, channels - in_channels
        self.shortcut = nn.Sequential()
        changes = stride != 1 or self.added != 0
        self.pads = changes and padded_shortcut
        if changes and not padded_shortcut:
            convolution = nn.Conv2d(in_channels, channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(channels))

    def forward(self, features: Tensor) -> Tensor:
        shortcut = self.shortcut(features)
        if self.pads:
            shortcut = shortcut[:, :, :: self.stride, :: self.stride]
            side = self.added // 2
            shortcut = F.pad(shortcut, (0, 0, 0, 0, side, self.added - side))
        features = F.relu(self.bn1(self.conv1(features)))
        return F.relu(self.bn2(self.conv2(features)) + shortcut)


class _ResNet(nn.Module):
    """A 3x3 convolution, stages of residual blocks, mean over the image, linear classifier."""

    classifier_name = "linear"

    def __init__(
        self,
        num_classes: int,
        widths: Sequence[int],
        blocks: int,
        *,
        padded_shortcut: bool,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = widths[0]
        for stage, width in enumerate(widths, 1):
            parts = []
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                parts.append(ResidualBlock(before, width, stride, padded_shortcut=padded_shortcut))
                before = width
            self.add_module(f"layer{stage}", nn.Sequential(*parts))
        self.linear = nn.Linear(before, num_classes)
        self.feature_layers = tuple(f"layer{stage}" for stage in range(1, len(widths) + 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, C)` of images `(N, 3, H, W)`."""
        features = F.relu(self.bn1(self.conv1(images)))
        for name in self.feature_layers:
            features = self.get_submodule(name)(features)
        return self.linear(F.adaptive_avg_pool2d(features, 1).flatten(1))


@MODELS.register_module()
class CifarResNet20(_ResNet):
    """ResNet-20 of 16, 32 and 64 channels: 0.27 M parameters, 41 M multiply-adds.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2, with the
    names of the weights that Idelbayev publishes ("Proper ResNet Implementation for CIFAR10").

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes, (16, 32, 64), 3, padded_shortcut=True)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)


@MODELS.register_module()
class CifarResNet18(_ResNet):
    """ResNet-18 whose first convolution is 3x3 with stride 1 and no pool follows: 11 M parameters.

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, as CIFAR recipes use it;
    its shortcuts are 1x1 convolutions.

    Args:
        num_classes: C.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes, (64, 128, 256, 512), 2, padded_shortcut=False)


class _WideBlock(nn.Module):
    """Batch norm and ReLU before each of two convolutions, dropout between them."""

    def __init__(self, in_channels: int, channels: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.dropout = dropout
        self.convShortcut = (
            None
            if in_channels == channels
            else nn.Conv2d(in_channels, channels, 1, stride, bias=False)
        )

    def forward(self, features: Tensor) -> Tensor:
        activated = F.relu(self.bn1(features))
        shortcut = features if self.convShortcut is None else self.convShortcut(activated)
        features = F.relu(self.bn2(self.conv1(activated)))
        features = F.dropout(features, self.dropout, self.training)
        return self.conv2(features) + shortcut


@MODELS.register_module()
class WideResNet40x2(nn.Module):
    """WideResNet-40-2 with dropout: 2.2 M parameters.

    Zagoruyko and Komodakis, "Wide Residual Networks", BMVC 2016, with the names of the code that
    Hendrycks et al. (outlier exposure) and Liu et al. (energy) release.

    Args:
        num_classes: C.
        dropout: between the two convolutions of a block; the published recipes take 0.3.
    """

    classifier_name = "fc"
    feature_layers = ("block1", "block2", "block3")

    def __init__(self, num_classes: int = 10, dropout: float = 0.3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        before = 16
        for stage, width in enumerate((32, 64, 128), 1):
            blocks = []
            for block in range(6):
                stride = 2 if stage > 1 and block == 0 else 1
                blocks.append(_WideBlock(before, width, stride, dropout))
                before = width
            layers: OrderedDict[str, nn.Module] = OrderedDict(layer=nn.Sequential(*blocks))
            self.add_module(f"block{stage}", nn.Sequential(layers))
        self.bn1 = nn.BatchNorm2d(before)
        self.fc = nn.Linear(before, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits `(N, C)` of images `(N, 3, H, W)`."""
        features = self.conv1(images)
        for name in self.feature_layers:
            features = self.get_submodule(name)(features)
        features = F.relu(self.bn1(features))
        return self.fc(F.adaptive_avg_pool2d(features, 1).flatten(1))


@MODELS.register_module()
def external_classifier(
    create: str,
    *,
    classifier: str | None = None,
    feature_layers: Sequence[str] = (),
    **options: Any,
) -> nn.Module:
    """Any classification network of another library, such as timm or torchvision.

    ```
    network=dict(type="external_classifier", create="timm.create_model", model_name="resnet18")
    network=dict(type="external_classifier", create="torchvision.models.resnet18", num_classes=10)
    ```

    Args:
        create: dotted name of what builds it; the module is imported, so a config decides what
            code is run.
        classifier: name of its last linear layer; None: the last one that it registers.
        feature_layers: names of the layers for a feature ensemble; without any, it has none.
        **options: of `create`.

    Raises:
        ValueError: there is no such name, or the network has no linear layer.
    """
    module_name, _, name = create.rpartition(".")
    try:
        build = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"external_classifier: {create!r} cannot be imported: {error}") from error
    return with_layer_names(build(**options), classifier, feature_layers)


def with_layer_names(
    network: nn.Module, classifier: str | None = None, feature_layers: Sequence[str] = ()
) -> nn.Module:
    """Note the classifier and the feature layers of any network; returns the network itself.

    Args:
        network: images `(N, 3, H, W)` to logits `(N, C)`.
        classifier, feature_layers: see `external_classifier`.

    Raises:
        ValueError: a name is no layer of the network, or it has no linear layer.
    """
    layers = dict(network.named_modules())
    linear = [name for name, one in layers.items() if isinstance(one, nn.Linear)]
    if classifier is None and not linear:
        raise ValueError(f"{type(network).__name__} has no linear layer; name its classifier")
    chosen = linear[-1] if classifier is None else classifier
    for name in (chosen, *feature_layers):
        if name not in layers:
            raise ValueError(f"{type(network).__name__} has no layer {name!r}")
    named: Any = network
    named.classifier_name, named.feature_layers = chosen, tuple(feature_layers)
    return network
