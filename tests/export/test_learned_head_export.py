"""Export of a model with a learned head: labels and scores are those of the model."""

import exported_tiny as tiny_export
import numpy as np
import onnxruntime
import pytest
import tiny
import torch

from ood_seg.apis import AnomalyInferencer
from ood_seg.export import exporting

HEAD = {
    "type": "LearnedHead",
    "layers": ["backbone.encoder.2", "penultimate", "decode_head.conv_seg"],
    "in_channels": [8, 16, 5],
    "channels": 8,
}
FORK = {"anomaly_branch": {"fork": ["decode_head.*"]}}  # two of the layers lie before it


@pytest.mark.parametrize(
    ("score", "channels", "changes"),
    [
        ("LikelihoodRatio", 2, {}),
        ("DenseHybrid", 2, FORK),
        ("DifferentialEntropy", 5, {}),  # of gamma functions, which ONNX lacks
    ],
)
def test_exported_scores_are_those_of_the_model(score, channels, changes, tmp_path):
    changes = {
        **changes,
        "learned_head": {**HEAD, "out_channels": channels},
        "energy_head": {"type": "EnergyHead", "score": {"type": score}},
    }
    model = tiny.build(**changes)
    torch.nn.init.normal_(model.learned_head.output.weight)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "tiny.pth")
    config = tiny_export.config(**changes)
    exporting.export_onnx(config, tmp_path / "tiny.pth", tmp_path / "tiny.onnx")
    image = tiny_export.made_up_image(40, 70)
    session = onnxruntime.InferenceSession(tmp_path / "tiny.onnx")
    labels, scores = session.run(["labels", "anomaly"], {"image": image[None]})
    (expected,) = AnomalyInferencer(config, tmp_path / "tiny.pth", "cpu").predict([image])
    assert (labels[0] == expected.labels).mean() > 0.995  # equal up to ties
    np.testing.assert_allclose(scores[0], expected.anomaly, rtol=1e-3, atol=1e-3)
    assert np.ptp(scores) > 0.1
