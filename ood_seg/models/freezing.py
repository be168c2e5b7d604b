"""Freezing of parameters by name pattern, and of normalisation statistics and dropout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd


@dataclass(frozen=True)
class Freezing:
    """The option `freeze` of `OODEncoderDecoder`.

    Attributes:
        frozen: shell patterns on the names of parameters that are not trained.
        trained: instead of those, patterns on the names of the only ones that are.
        norm_statistics: `fixed` or `updated`, of batch norms in training.
        dropout: `off` or `on`, in training.

    Raises:
        ValueError: both kinds of patterns, or another value.
    """

    frozen: list[str] | None = None
    trained: list[str] | None = None
    norm_statistics: str = "fixed"
    dropout: str = "off"

    def __post_init__(self) -> None:
        if self.frozen is not None and self.trained is not None:
            raise ValueError("freeze takes either frozen or trained patterns, got both")
        if self.norm_statistics not in ("fixed", "updated") or self.dropout not in ("off", "on"):
            raise ValueError(
                "freeze expects norm_statistics 'fixed' or 'updated' and dropout 'off' or 'on', "
                f"got {self.norm_statistics!r} and {self.dropout!r}"
            )

    def stop_gradients(self, module: nn.Module) -> None:
        """Freeze the parameters of a module by the patterns.

        Raises:
            ValueError: a pattern matches nothing.
        """
        if self.frozen:
            freeze_parameters(module, self.frozen)
        if self.trained is not None:
            train_only(module, self.trained)

    def fix_layers(self, module: nn.Module) -> None:
        """Put the fixed layers of a module in training mode back into evaluation mode."""
        if self.norm_statistics == "fixed":
            fix_norm_statistics(module)
        if self.dropout == "off":
            switch_off_dropout(module)


def freeze_parameters(module: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Stop the gradient of every parameter whose name matches a pattern.

    Args:
        module: any module.
        patterns: shell patterns on full parameter names, such as `backbone.*`.

    Returns:
        Names of the frozen parameters.

    Raises:
        ValueError: if a pattern matches nothing; the message lists the names that exist.
    """
    matched = _match(module, patterns)
    for name, parameter in module.named_parameters():
        if name in matched:
            parameter.requires_grad_(False)
    return sorted(matched)


def train_only(module: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Stop the gradient of every parameter whose name matches **no** pattern.

    Args:
        module: any module.
        patterns: shell patterns on the names of the parameters that stay trainable.

    Returns:
        Names of the frozen parameters.

    Raises:
        ValueError: if a pattern matches nothing; the message lists the names that exist.
    """
    matched = _match(module, patterns)
    frozen = [name for name, _ in module.named_parameters() if name not in matched]
    for name, parameter in module.named_parameters():
        if name not in matched:
            parameter.requires_grad_(False)
    return sorted(frozen)


def fix_norm_statistics(module: nn.Module) -> None:
    """Put every batch-norm layer in evaluation mode: running statistics are used, not updated.

    Parts with a true attribute `keeps_norm_mode` are left alone: they are new beside pre-trained
    ones, and their layers have no statistics yet.
    """
    if getattr(module, "keeps_norm_mode", False):
        return
    if isinstance(module, _BatchNorm):
        module.eval()
    for child in module.children():
        fix_norm_statistics(child)


def switch_off_dropout(module: nn.Module) -> None:
    """Put every dropout layer in evaluation mode."""
    for layer in module.modules():
        if isinstance(layer, _DropoutNd):
            layer.eval()


def _match(module: nn.Module, patterns: Sequence[str]) -> set[str]:
    """Names of the parameters that match any pattern; every pattern must match one."""
    return matching_names([name for name, _ in module.named_parameters()], patterns)


def matching_names(names: Sequence[str], patterns: Sequence[str]) -> set[str]:
    """Return the names that match any pattern; every pattern must match one.

    Args:
        names: dotted names of parameters.
        patterns: shell patterns on them.

    Raises:
        TypeError: the patterns are a string.
        ValueError: a pattern matches nothing; the message lists how the names begin.
    """
    if isinstance(patterns, str):
        raise TypeError(f"patterns must be a list of strings, got the string {patterns!r}")
    matched: set[str] = set()
    for pattern in patterns:
        found = {name for name in names if fnmatchcase(name, pattern)}
        if not found:
            prefixes = sorted({".".join(name.split(".")[:2]) for name in names})
            raise ValueError(
                f"pattern {pattern!r} matches no parameter; names begin with "
                f"{', '.join(prefixes)} (shell patterns on full names, such as 'backbone.*')"
            )
        matched |= found
    return matched
