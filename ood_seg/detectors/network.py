"""Adapter around a network: images in; logits and the activations of named layers out.

```
images (N,3,H,W) -> module -> logits (N,C,h,w)
                      |- hooks on layers -> features {name: (N,D,h',w')}
                      `- input of the classifier -> features["penultimate"]
```
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ood_seg.precision import without_autocast
from ood_seg.spelling import close_first

PENULTIMATE = "penultimate"
_LISTED = 40


class Outputs(NamedTuple):
    """Result of one forward pass.

    Attributes:
        logits: `(N, C, *)` of the known classes, at the network's own resolution.
        features: activation `(N, D, *)` of each requested layer, by name.
    """

    logits: Tensor
    features: dict[str, Tensor]


class Network:
    """A dense or image-level network with access to the activations of its layers by name.

    Args:
        module: the model, in evaluation mode.
        forward: preprocessed images `(N, 3, *)` to logits `(N, C', *)`; by default the module.
        classifier: name of the layer that maps the penultimate activation to logits (a linear
            layer, or a convolution); its input is the layer `penultimate`.
        num_classes: number of class channels C, which come first in the logits; None: all.
        input_std: per-channel standard deviation `(3,)` by which preprocessed images were divided,
            in units of 0..255; input perturbation divides its step by it.
        align_corners: for the interpolation of the logits to the images' size.

    Raises:
        ValueError: the classifier is not a layer of the module.
    """

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[[Tensor], Tensor] | None = None,
        *,
        classifier: str | None = None,
        num_classes: int | None = None,
        input_std: Sequence[float] | None = None,
        align_corners: bool = False,
    ) -> None:
        self.module = module
        self.classifier = classifier
        self.num_classes = num_classes
        self.input_std = None if input_std is None else torch.as_tensor(input_std).flatten().float()
        self.align_corners = align_corners
        self._forward = forward or module
        self._layers = dict(module.named_modules())
        self._layers.pop("", None)
        if classifier is not None:
            self.layer(classifier)

    def __call__(self, images: Tensor, layers: Sequence[str] = ()) -> Outputs:
        """Run the network once.

        Args:
            images: `(N, 3, *)`, preprocessed.
            layers: names of the activations to return; `penultimate` is the classifier's input.

        Raises:
            ValueError: a layer does not exist, was not executed, or does not return one tensor.
        """
        with self.recording(layers) as features:
            logits = self._forward(images)
        return Outputs(self.class_logits(logits), features)

    @contextlib.contextmanager
    def recording(self, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
        """Context manager: the activations of named layers in the forward pass inside it, by name.

        Raises:
            ValueError: as a call; where a layer was not executed, at the end.
        """
        features: dict[str, Tensor] = {}
        with contextlib.ExitStack() as hooks:
            for name in layers:
                hooks.enter_context(self._recording(name, features))
            yield features
        missing = [name for name in layers if name not in features]
        if missing:
            raise ValueError(f"layers {missing} were not executed in the forward pass")

    def class_logits(self, logits: Tensor) -> Tensor:
        """The channels of the known classes."""
        return logits if self.num_classes is None else logits[:, : self.num_classes]

    @without_autocast
    def classify(self, features: Tensor) -> Tensor:
        """Class logits `(N, C, *)` of penultimate activations `(N, D, *)`, modified or not.

        Computed in the precision of the activations instead of the network's, because modified
        activations may exceed the range of float16.

        Raises:
            ValueError: the classifier is not known.
        """
        layer = self.layer(self._named_classifier())
        weights = {name: value.to(features.dtype) for name, value in layer.state_dict().items()}
        return self.class_logits(functional_call(layer, weights, (features,)))

    def layer(self, name: str) -> nn.Module:
        """The layer of that name.

        Raises:
            ValueError: there is none; the message lists existing names, similar ones first.
        """
        if name not in self._layers:
            listed = ", ".join(close_first(name, self._layers, count=5)[:_LISTED])
            more = ", ..." if len(self._layers) > _LISTED else ""
            raise ValueError(
                f"{type(self.module).__name__} has no layer {name!r}; it has {listed}{more}"
            )
        return self._layers[name]

    def fingerprint(self) -> str:
        """SHA-256 of names, shapes, dtypes and values of all weights.

        Energy head and auxiliary heads are left out, because no score depends on them.
        """
        digest = hashlib.sha256()
        for name, value in self.module.state_dict().items():
            if name.startswith(("energy_head.", "auxiliary_head.")):
                continue
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            values = value.detach().cpu().contiguous()
            digest.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def _named_classifier(self) -> str:
        if self.classifier is None:
            raise ValueError(
                f"the layer {PENULTIMATE!r} is the input of the classifier; name the layer of "
                f"{type(self.module).__name__} that is the classifier"
            )
        return self.classifier

    @contextlib.contextmanager
    def _recording(self, name: str, features: dict[str, Tensor]) -> Iterator[None]:
        """Context manager: store the activation of a layer in `features`."""

        def keep(value: object) -> None:
            if isinstance(value, (tuple, list)) and len(value) == 1:
                value = value[0]
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"layer {name!r} returns a {type(value).__name__}, expected one tensor "
                    "(N, D, *); choose a layer inside it"
                )
            features[name] = value

        if name == PENULTIMATE:
            handle = self.layer(self._named_classifier()).register_forward_pre_hook(
                lambda _module, arguments: keep(arguments)
            )
        else:
            handle = self.layer(name).register_forward_hook(
                lambda _module, _arguments, output: keep(output)
            )
        try:
            yield
        finally:
            handle.remove()


def layers_of(detectors: Mapping[str, object]) -> tuple[str, ...]:
    """All layers that the detectors need, without duplicates, in order of first occurrence."""
    names = (name for detector in detectors.values() for name in getattr(detector, "layers", ()))
    return tuple(dict.fromkeys(names))
