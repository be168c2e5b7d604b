"""All scores of an image from one forward pass equal those of single predictions."""

import copy

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS
from tiny_detectors import ActivationNorm, BrighterImage

import ood_seg.register  # noqa: F401
from ood_seg.comparison.shared_pass import SharedPass
from ood_seg.detectors import Detector
from ood_seg.smoothing import GaussianSmoothing

init_default_scope("mmseg")
for _kind in (BrighterImage, ActivationNorm):
    MODELS.register_module(module=_kind, force=True)

CONFIGS = {
    "energy": {"type": "Energy"},
    "entropy": {"type": "Entropy"},
    "norm": {"type": "ActivationNorm"},
    "encoder": {"type": "ActivationNorm", "layer": "backbone.encoder.2"},
    "brighter": {"type": "BrighterImage"},
    "odin": {"type": "ODIN"},
}


class Broken(Detector):
    """Fails on every image, as if out of memory."""

    def forward(self, outputs, network):
        raise RuntimeError("out of memory")


def image():
    batch = tiny.batch(1, size=(30, 44))
    batch["data_samples"][0].set_metainfo({"ori_shape": (61, 90), "img_path": "a.png"})
    return batch


def shared_pass(model, configs=CONFIGS, smoothing=None):
    return SharedPass(model, {k: MODELS.build(v) for k, v in configs.items()}, smoothing)


def count_passes(model):
    passes = []
    model.backbone.register_forward_hook(lambda *_: passes.append(1))
    return passes


@pytest.mark.parametrize("smoothing", [None, {"kernel_size": 5, "sigma": 1.0}])
def test_scores_equal_those_of_single_predictions(smoothing):
    blur = GaussianSmoothing(**smoothing) if smoothing else None
    source = shared_pass(tiny.build(), smoothing=blur)
    found = {s.name: s for s in source.scores(image(), source.names, memory=True)}
    assert found.keys() == CONFIGS.keys()
    for name, config in CONFIGS.items():
        head = {"type": "EnergyHead", "score": config, "smoothing": smoothing}
        (expected,) = tiny.build(energy_head=head).test_step(image())
        assert not found[name].failure
        assert found[name].scores.shape == (61, 90)
        torch.testing.assert_close(
            found[name].scores, expected.pred_anomaly.data[0], rtol=1e-4, atol=1e-4
        )
        assert found[name].cost.seconds > 0


def test_one_forward_pass_serves_all_that_do_not_run_the_network():
    model = tiny.build()
    passes = count_passes(model)
    source = shared_pass(model)
    names = ["energy", "entropy", "norm", "encoder"]
    list(source.scores(image(), names, memory=False))
    assert len(passes) == 1
    list(source.scores(image(), [*names, "brighter"], memory=False))
    assert len(passes) == 1 + 1 + 2  # BrighterImage runs it twice
    list(source.scores(image(), ["brighter"], memory=False))
    assert len(passes) == 4 + 2
    assert source.shared["images"] == 2


def test_scores_of_all_channels_see_them():
    head = {"num_classes": tiny.NUM_CLASSES - 1, "type": "EnergyHead"}
    configs = {"energy": {"type": "Energy"}, "hybrid": {"type": "DenseHybrid"}}
    source = shared_pass(tiny.build(energy_head=dict(head)), configs)
    found = {s.name: s.scores for s in source.scores(image(), source.names, memory=False)}
    for name, config in configs.items():
        model = tiny.build(energy_head={**head, "score": config})
        (expected,) = model.test_step(image())
        torch.testing.assert_close(found[name], expected.pred_anomaly.data[0])


def test_a_score_that_fails_is_named_and_the_others_continue():
    model = tiny.build()
    scores = {"energy": MODELS.build({"type": "Energy"}), "broken": Broken()}
    found = {s.name: s for s in SharedPass(model, scores).scores(image(), scores, memory=False)}
    assert found["broken"].failure == "RuntimeError: out of memory"
    assert found["broken"].scores is None
    assert found["energy"].scores.shape == (61, 90)


def test_scores_that_the_model_does_not_provide_are_known_at_the_start():
    configs = {
        "energy": {"type": "Energy"},
        "gone": {"type": "ActivationNorm", "layer": "neck.fpn"},
    }
    source = shared_pass(tiny.build(), configs)
    assert source.names == ("energy",)
    assert "'neck.fpn'" in source.failures["gone"]
    model = tiny.build()
    model.test_cfg = type(model.test_cfg)(mode="slide", crop_size=(16, 16), stride=(8, 8))
    windows = shared_pass(model, {"norm": {"type": "ActivationNorm"}})
    assert "sliding windows" in windows.failures["norm"]


def test_model_and_data_stay_as_they_were():
    model = tiny.build()
    batch = image()
    before = copy.deepcopy(batch["inputs"]), copy.deepcopy(model.state_dict())
    source = shared_pass(model)
    list(source.scores(batch, source.names, memory=False))
    assert torch.equal(batch["inputs"][0], before[0][0])
    assert all(torch.equal(value, before[1][name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
