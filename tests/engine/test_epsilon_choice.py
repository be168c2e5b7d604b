"""Choice of epsilon from known images alone, against the formula on a linear network."""

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("mmseg")

from ood_seg.detectors import ODIN, Network
from ood_seg.engine.epsilon_choice import choose_epsilon, mean_confidences

STD = np.array([63.0, 62.1, 66.7])


def test_the_mean_is_that_of_the_confidence_of_all_images():
    generator = torch.Generator().manual_seed(3)
    module = nn.Sequential(nn.Flatten(), nn.Linear(3, 4, bias=False))
    module[1].weight.data.copy_(torch.randn(4, 3, generator=generator))
    network = Network(module.eval(), classifier="1", input_std=list(STD))
    images = torch.randn(7, 3, 1, 1, generator=generator)
    epsilons = (0.0, 0.01, 0.3)
    detectors = {epsilon: ODIN(10.0, epsilon) for epsilon in epsilons}
    found = mean_confidences(detectors, network, images.split([4, 3]))
    a = module[1].weight.detach().double().numpy()
    for epsilon in epsilons:
        confidences = []
        for image in images.flatten(1).double().numpy():
            probabilities = np.exp(a @ image / 10) / np.exp(a @ image / 10).sum()
            gradient = a.T @ (probabilities - np.eye(4)[(a @ image).argmax()])
            step = epsilon * np.where(gradient >= 0, 1, -1) / (STD / 255)
            values = np.exp(a @ (image - (step if epsilon else 0)) / 10)
            confidences.append(values.max() / values.sum())
        assert found[epsilon] == pytest.approx(np.mean(confidences), rel=1e-6)


def test_no_image_is_an_error():
    network = Network(nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval(), classifier="1")
    with pytest.raises(ValueError, match="no known image"):
        mean_confidences({0.0: ODIN(1.0, 0.0)}, network, [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score": "odim"}, "odin"),
        ({"score": "mahalanobis"}, "--statistics"),
        ({"epsilons": []}, "at least one"),
        ({"epsilons": [-0.1]}, "epsilon must be at least 0"),
    ],
)
def test_bad_options_are_refused_before_the_model_is_loaded(options, message):
    with pytest.raises(ValueError, match=message):
        choose_epsilon("absent.py", **options)
