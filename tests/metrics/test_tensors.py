"""The metrics take tensors as they come: of a GPU, of a graph, in half precision."""

import numpy as np
import pytest
import torch

from ood_seg.metrics import (
    ComponentMetrics,
    InstanceAP,
    OpenSetMetrics,
    PixelMetrics,
    rejection_threshold,
)

GENERATOR = torch.Generator().manual_seed(0)
SCORES = torch.randn(20, 30, generator=GENERATOR)
MASK = torch.zeros(20, 30, dtype=torch.uint8)
MASK[4:9, 5:12], MASK[15:] = 1, 255
CLASSES = torch.randint(3, (20, 30), generator=GENERATOR)


class TensorOfGPU(torch.Tensor):
    """A tensor that must be brought to the CPU before it becomes an array."""

    def numpy(self, *args, **kwargs):
        raise TypeError("can't convert device type tensor to numpy")

    __array__ = numpy

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def pixel(scores, mask, classes):
    metrics = PixelMetrics()
    metrics.update(scores, mask)
    return metrics.compute()


def component(scores, mask, classes):
    metrics = ComponentMetrics(threshold=0.0, track=(1, 1))
    metrics.update(scores, mask)
    return metrics.compute()["by_threshold"]


def instance(scores, mask, classes):
    metrics = InstanceAP(threshold=0.0)
    metrics.update(scores, mask)
    return metrics.compute()


def open_set(scores, mask, classes):
    metrics = OpenSetMetrics(3, threshold=0.0, outlier_index=7)
    metrics.update(classes, scores, classes)
    return metrics.compute()


def threshold(scores, mask, classes):
    return rejection_threshold(scores)


@pytest.mark.parametrize("function", [pixel, component, instance, open_set, threshold])
def test_tensors_of_a_gpu_and_of_a_graph(function):
    inputs = (SCORES, MASK, CLASSES)
    expected = function(*(one.numpy() for one in inputs))
    assert function(*inputs) == expected
    assert function(*(one.as_subclass(TensorOfGPU) for one in inputs)) == expected
    assert function(SCORES.clone().requires_grad_(), MASK, CLASSES) == expected
    half = function(SCORES.bfloat16(), MASK, CLASSES)
    assert half == function(SCORES.bfloat16().float().numpy(), MASK.numpy(), CLASSES.numpy())


def test_the_stand_in_is_no_array():
    with pytest.raises(TypeError, match="can't convert device type tensor"):
        np.asarray(SCORES.as_subclass(TensorOfGPU))
