"""Labels of a model with an anomaly branch through the inferencer and the service."""

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ood_seg.register  # noqa: F401
from ood_seg.apis import AnomalyInferencer

init_default_scope("mmseg")
FORK = {"fork": ["backbone.decoder.*", "decode_head.*"]}
PIPELINE = [{"type": "LoadCheckedImage"}, {"type": "PackSegInputs"}]


@pytest.fixture(scope="module")
def inferencers(tmp_path_factory):
    """Inferencers of a model with a branch, and of plain ones with frozen and branch weights."""
    folder = tmp_path_factory.mktemp("weights")
    frozen, model = tiny.build(), tiny.build(anomaly_branch=FORK)
    model.load_state_dict(frozen.state_dict())
    with torch.no_grad():
        for parameter in model.anomaly_branch.parameters():
            parameter.mul_(0.9)
    weights = {"branch": model.state_dict(), "frozen": frozen.state_dict()}
    weights["scored"] = weights["frozen"] | model.anomaly_branch.state_dict()
    found = {}
    for name, values in weights.items():
        torch.save({"state_dict": values}, folder / f"{name}.pth")
        options = {"anomaly_branch": FORK} if name == "branch" else {}
        config = Config({"model": tiny.model_config(**options), "test_pipeline": PIPELINE})
        found[name] = AnomalyInferencer(config, folder / f"{name}.pth", "cpu")
    return found


def image(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (45, 61, 3), dtype=np.uint8)


def test_labels_of_the_inferencer_are_the_frozen_ones_and_scores_the_branches(inferencers):
    images = [image(seed) for seed in range(3)]
    found = {name: one.predict(images) for name, one in inferencers.items()}
    for branch, frozen, scored in zip(*found.values(), strict=True):
        np.testing.assert_array_equal(branch.labels, frozen.labels)
        np.testing.assert_array_equal(branch.anomaly, scored.anomaly)
        assert np.abs(branch.anomaly - frozen.anomaly).max() > 0.01


def test_labels_of_the_service_are_the_frozen_ones(inferencers):
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    cv2 = pytest.importorskip("cv2")
    from fastapi.testclient import TestClient

    from ood_seg.serving.app import create_app

    content = cv2.imencode(".png", image())[1].tobytes()
    answers = {}
    for name in ("branch", "frozen", "scored"):
        with TestClient(create_app(inferencers[name]), base_url="http://localhost") as client:
            answers[name] = [
                client.post("/predict", content=content, params={"format": kind}).content
                for kind in ("labels", "scores")
            ]
    labels = cv2.imdecode(np.frombuffer(answers["branch"][0], np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(labels, inferencers["frozen"].predict([image()])[0].labels)
    assert answers["branch"][0] == answers["frozen"][0]
    assert answers["branch"][1] == answers["scored"][1] != answers["frozen"][1]
