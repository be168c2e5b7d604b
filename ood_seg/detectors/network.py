"""A network as the detectors see it: images in; logits and the activations of named layers out.

```
images (N,3,H,W) -> module -> logits (N,C,h,w)
                      |- hooks on layers -> features {name: (N,D,h',w')}
                      `- input of the classifier -> features["penultimate"]
```
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ood_seg.precision import without_autocast

PENULTIMATE = "penultimate"
_LISTED = 40


class Outputs(NamedTuple):
    """What one forward pass gives.

    Attributes:
        logits: `(N, C, *)` of the known classes, at the network's own resolution.
        features: activation `(N, D, *)` of each layer that was asked for, by name.
    """

    logits: Tensor
    features: dict[str, Tensor]


class Network:
    """A module with names for its activations; image-level and dense networks alike.

    Args:
        module: the model, in evaluation mode.
        forward: prepared images `(N, 3, *)` to logits `(N, C', *)`; by default the module.
        classifier: name of the layer that turns the penultimate activation into logits (a linear
            layer, or a convolution); its input is the layer `penultimate`.
        num_classes: number of class channels C, the first of the logits; None: all.
        input_std: per-channel standard deviation `(3,)` by which prepared images were divided, in
            units of 0..255; what input perturbation divides its step by.
        align_corners: how the logits are interpolated to the images' size.
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
            images: `(N, 3, *)`, prepared.
            layers: names of the activations to return; `penultimate` is the classifier's input.

        Raises:
            ValueError: a layer does not exist, did not run, or gave no tensor.
        """
        features: dict[str, Tensor] = {}
        with contextlib.ExitStack() as hooks:
            for name in layers:
                hooks.enter_context(self._recording(name, features))
            logits = self._forward(images)
        missing = [name for name in layers if name not in features]
        if missing:
            raise ValueError(f"layers {missing} took no part in the forward pass")
        return Outputs(self.class_logits(logits), features)

    def class_logits(self, logits: Tensor) -> Tensor:
        """The channels of the known classes."""
        return logits if self.num_classes is None else logits[:, : self.num_classes]

    @without_autocast
    def classify(self, features: Tensor) -> Tensor:
        """Class logits of penultimate activations `(N, D, *)`, which may have been changed.

        They are computed in the activations' precision, whatever that of the network: changed
        activations may leave float16's range.
        """
        layer = self.layer(self._named_classifier())
        weights = {name: value.to(features.dtype) for name, value in layer.state_dict().items()}
        return self.class_logits(functional_call(layer, weights, (features,)))

    def layer(self, name: str) -> nn.Module:
        """The layer of that name.

        Raises:
            ValueError: there is none; the message lists those that exist, likely ones first.
        """
        if name not in self._layers:
            close = difflib.get_close_matches(name, self._layers, n=5, cutoff=0.4)
            others = [other for other in self._layers if other not in close]
            listed = ", ".join([*close, *others][:_LISTED])
            more = ", ..." if len(self._layers) > _LISTED else ""
            raise ValueError(
                f"{type(self.module).__name__} has no layer {name!r}; it has {listed}{more}"
            )
        return self._layers[name]

    def fingerprint(self) -> str:
        """SHA-256 of names, shapes and values of all weights.

        Those of energy head and auxiliary heads are left out: no score depends on them.
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
                f"the layer {PENULTIMATE!r} needs to know which layer of "
                f"{type(self.module).__name__} is the classifier; name it"
            )
        return self.classifier

    @contextlib.contextmanager
    def _recording(self, name: str, features: dict[str, Tensor]) -> Iterator[None]:
        """Keep the activation of a layer while the context is open."""

        def keep(value: object) -> None:
            if isinstance(value, (tuple, list)) and len(value) == 1:
                value = value[0]
            if not isinstance(value, Tensor):
                raise ValueError(
                    f"layer {name!r} gives a {type(value).__name__}, expected one tensor "
                    "(N, D, *); name a layer inside it"
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
    """All layers that some of the detectors need, each once, in order of first mention."""
    names = (name for one in detectors.values() for name in getattr(one, "layers", ()))
    return tuple(dict.fromkeys(names))
