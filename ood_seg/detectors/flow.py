"""A small normalising flow: exact log density of vectors, trained on a sample.

x (P,D) -> [one half of the channels scaled and shifted, given the other half] * K -> z ~ N(0, 1)

Source: Dinh, Sohl-Dickstein and Bengio, "Density Estimation Using Real NVP", ICLR 2017, eqs. 3 to
8. No global random state is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

# Bound of a coupling's log scale: exp(2) per step is ample, and inputs far from the training data
# cannot overflow.
_LOG_SCALE = 2.0


class AffineCoupling(nn.Module):
    """Maps the channels of one parity to `x exp(s) + t`; `s` and `t` depend on the other channels.

    The initial map is the identity.

    Args:
        width: D, at least 2.
        parity: 0: the even channels are mapped, 1: the odd ones.
        hidden: width of the two hidden layers that compute `s` and `t`.
        generator: draws their weights.
    """

    def __init__(self, width: int, parity: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.parity = parity
        changed = len(range(parity, width, 2))
        self.net = nn.Sequential(
            _linear(width - changed, hidden, generator),
            nn.ReLU(),
            _linear(hidden, hidden, generator),
            nn.ReLU(),
            _linear(hidden, 2 * changed, None),
        )

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Values `(P, D)` and `log |det|` of the step, `(P,)`."""
        log_scale, shift = self._terms(values)
        changed = values[:, self.parity :: 2] * log_scale.exp() + shift
        return self._with(values, changed), log_scale.sum(dim=1)

    def inverse(self, values: Tensor) -> Tensor:
        """The inverse of `forward`, without the determinant."""
        log_scale, shift = self._terms(values)
        return self._with(values, (values[:, self.parity :: 2] - shift) * (-log_scale).exp())

    def _terms(self, values: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = self.net(values[:, 1 - self.parity :: 2]).chunk(2, dim=1)
        return _LOG_SCALE * torch.tanh(raw / _LOG_SCALE), shift

    def _with(self, values: Tensor, changed: Tensor) -> Tensor:
        result = values.clone()
        result[:, self.parity :: 2] = changed
        return result


class AffineFlow(nn.Module):
    """A chain of couplings with a standard normal latent distribution; initially the identity.

    Args:
        width: D.
        couplings: K, alternating between even and odd channels.
        hidden: see `AffineCoupling`.
        seed: of the initial weights.

    Raises:
        ValueError: there are fewer than two channels or couplings.
    """

    def __init__(self, width: int, couplings: int = 6, hidden: int = 64, seed: int = 0) -> None:
        super().__init__()
        if width < 2 or couplings < 2:
            raise ValueError(
                f"a flow needs at least 2 channels and 2 couplings, got {width} and {couplings}"
            )
        generator = torch.Generator().manual_seed(seed)
        self.couplings = nn.ModuleList(
            AffineCoupling(width, index % 2, hidden, generator) for index in range(couplings)
        )

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Latent values `(P, D)` and `log |det dz / dx|` `(P,)`."""
        log_det = values.new_zeros(len(values))
        for coupling in self.couplings:
            values, change = coupling(values)
            log_det = log_det + change
        return values, log_det

    def inverse(self, latent: Tensor) -> Tensor:
        """Values `(P, D)` of latent ones."""
        for coupling in reversed(self.couplings):
            assert isinstance(coupling, AffineCoupling)
            latent = coupling.inverse(latent)
        return latent

    def log_density(self, values: Tensor) -> Tensor:
        """Log density in nats, `(P, D) -> (P,)`."""
        latent, log_det = self(values)
        normal = -0.5 * (latent.square().sum(dim=1) + latent.shape[1] * math.log(2 * math.pi))
        return normal + log_det

    def to_vector(self) -> Tensor:
        """All weights as one vector `(W,)`."""
        return nn.utils.parameters_to_vector(self.parameters()).detach().clone()

    def load_vector(self, vector: Tensor) -> AffineFlow:
        """Load weights of `to_vector`; returns the flow itself.

        Raises:
            ValueError: the number of weights differs.
        """
        expected = sum(weight.numel() for weight in self.parameters())
        if vector.numel() != expected:
            raise ValueError(f"expected {expected} weights of the flow, got {vector.numel()}")
        nn.utils.vector_to_parameters(vector, self.parameters())
        return self


def num_weights(width: int, couplings: int, hidden: int) -> int:
    """Number of weights of an `AffineFlow` of that shape."""

    def of_coupling(changed: int) -> int:
        kept = width - changed
        return (kept + 1) * hidden + (hidden + 1) * hidden + (hidden + 1) * 2 * changed

    odd = couplings // 2
    return (couplings - odd) * of_coupling((width + 1) // 2) + odd * of_coupling(width // 2)


def train_flow(
    flow: AffineFlow,
    values: Tensor,
    *,
    steps: int = 1000,
    batch_size: int = 1024,
    learning_rate: float = 1e-3,
    noise: float = 0.05,
    seed: int = 0,
    on_step: Callable[[int, int], None] = lambda step, steps: None,
) -> AffineFlow:
    """Maximise the mean log density of a sample with Adam and a cosine learning rate schedule.

    Works inside `torch.no_grad` and on inference tensors as well.

    Args:
        flow: modified in place.
        values: `(P, D)`, roughly standardised.
        steps: number of batches.
        batch_size: rows per batch, drawn with replacement.
        learning_rate: initial learning rate.
        noise: standard deviation of the noise added to each batch. A ReLU makes many values
            equal, where the density would be unbounded.
        seed: of batches and noise.
        on_step: called with the step (from 1) and the number of steps.

    Returns:
        The flow.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode(False), torch.enable_grad():
        values = values.detach().clone()
        optimizer = torch.optim.Adam(flow.parameters(), learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for step in range(1, steps + 1):
            chosen = torch.randint(len(values), (batch_size,), generator=generator)
            drawn = torch.randn(batch_size, values.shape[1], generator=generator)
            batch = values[chosen] + noise * drawn.to(values.dtype)
            optimizer.zero_grad()
            (-flow.log_density(batch).mean()).backward()
            nn.utils.clip_grad_norm_(flow.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            on_step(step, steps)
    return flow


def _linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    """A linear layer with He's initialisation, or of zeros without a generator."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    nn.init.zeros_(layer.bias)
    if generator is None:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=math.sqrt(2 / inputs), generator=generator)
    return layer
