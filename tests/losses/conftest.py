"""A small scene with all kinds of pixels, and the batch behind the published numbers."""

import pytest
import torch

# Figure 1 of Choi et al. 2023, values of the released code.
PUBLISHED_PRIOR = [
    0.152509041, 0.013298, 0.106703, 0.040058, 0.033866, 0.005256, 0.001065, 0.027989, 0.080249,
    0.097971, 0.002175, 0.153123, 0.029222, 0.087057, 0.119925, 0.016023, 0.007071, 0.017048,
    0.009393,
]  # fmt: skip


@pytest.fixture
def scene():
    """Double-precision logits `(2, 5, 4, 6)` and labels with known, outlier and ignored pixels."""
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(2, 5, 4, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 5, (2, 4, 6), generator=generator)
    labels[0, 1:3, 2:5] = 254
    labels[1, 0] = 255
    labels[1, 2, 2] = 254
    return logits, labels


@pytest.fixture
def published_batch(published_pebal_batch):
    """Logits of 19 classes, labels and prior whose losses were computed with the released code."""
    logits, labels = published_pebal_batch
    return logits[:, :19], labels, PUBLISHED_PRIOR


@pytest.fixture
def published_pebal_batch():
    """The same with an abstention class: logits `(2, 20, 8, 10)` and labels."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 20, 8, 10, generator=generator) * 4
    labels = torch.randint(0, 19, (2, 8, 10), generator=generator)
    labels[1, 2:6, 3:8] = 254
    labels[:, 0, :] = 255
    # The last bits of torch's normal numbers depend on the instruction set of the processor.
    assert logits.double().sum().item() == pytest.approx(-86.43932846747339, abs=1e-3)
    assert labels.sum().item() == 11196
    return logits, labels
