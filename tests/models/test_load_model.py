"""`load_model`: from config and checkpoint to a model; refused configs and checkpoints."""

import pytest
import torch

pytest.importorskip("mmseg")
import tiny
from mmengine.config import Config
from mmengine.registry import init_default_scope

import ood_seg.register  # noqa: F401
from ood_seg.apis import load_model
from ood_seg.checkpoints import check_finite

init_default_scope("mmseg")


def config(**changes):
    settings = tiny.model_config(**changes)
    return Config({"model": settings, "norm": {"momentum": 0.1}})


@pytest.fixture
def weights(tmp_path):
    state = tiny.build().state_dict()
    torch.save({"state_dict": state, "meta": {}}, tmp_path / "tiny.pth")
    return state, tmp_path / "tiny.pth"


def test_weights_config_and_classes_come_with_the_model(weights):
    state, path = weights
    given = config()
    model = load_model(given, path, "cpu", options={"model.test_cfg.mode": "whole"})
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert model.cfg.load_from == str(path)
    assert given.get("load_from") is None  # the config of the caller stays as it is
    classes, palette = model.dataset_meta["classes"], model.dataset_meta["palette"]
    assert len(classes) == len(palette) == model.num_classes


def test_checkpoint_of_the_config_and_options_as_text(weights):
    state, path = weights
    model = load_model(config(), options=[f"load_from={path}", "norm.momentum=0.2"])
    assert torch.equal(model.state_dict()["decode_head.conv_seg.bias"], state[CLASSIFIER])
    assert model.cfg.norm.momentum == 0.2


CLASSIFIER = "decode_head.conv_seg.bias"


def test_plain_score_needs_no_statistics(weights, tmp_path):
    _, path = weights
    head = {
        "type": "EnergyHead",
        "score": {"type": "Mahalanobis", "statistics": str(tmp_path / "absent")},
        "smoothing": {"kernel_size": 3, "sigma": 1.0},
        "losses": [tiny.ENERGY_LOSS],
    }
    with pytest.raises(FileNotFoundError, match="absent"):
        load_model(config(energy_head=head), path)
    model = load_model(config(energy_head=head), path, plain_score=True)
    assert type(model.energy_head.score).__name__ == "Energy"
    assert model.energy_head.smoothing is None
    assert not model.energy_head.losses
    assert model.cfg.model.energy_head.type == "EnergyHead"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(weights, value):
    state, path = weights
    state[CLASSIFIER][1] = value
    torch.save({"state_dict": state}, path)
    with pytest.raises(ValueError, match=rf"tiny.pth.*{CLASSIFIER}.*NaN"):
        load_model(config(), path)
    check_finite({"counter": torch.tensor(3)})


def test_unusable_configs_and_checkpoints_are_refused(weights, tmp_path):
    state, path = weights
    with pytest.raises(ValueError, match="load_from"):
        load_model(config())
    with pytest.raises(FileNotFoundError, match=r"absent\.pth"):
        load_model(config(), tmp_path / "absent.pth")
    with pytest.raises(ValueError, match="'moon'"):
        load_model(config(), path, "moon")
    state.pop(CLASSIFIER)
    torch.save(state, path)
    with pytest.raises(ValueError, match=rf"1 missing \({CLASSIFIER}\)"):
        load_model(config(), path)
    allowed = config()
    allowed.allowed_key_mismatch = ["^decode_head"]
    assert load_model(allowed, path).num_classes == tiny.NUM_CLASSES
    plain = config()
    plain.model = {"type": "EncoderDecoder", **{k: v for k, v in plain.model.items() if k in PLAIN}}
    with pytest.raises(ValueError, match=r"EncoderDecoder .*OODEncoderDecoder"):
        load_model(plain, path)


PLAIN = ("data_preprocessor", "backbone", "decode_head", "train_cfg", "test_cfg")
