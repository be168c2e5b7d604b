"""The networks of the shipped configs can be exported, with random weights if none are public."""

import os

import exported_tiny  # noqa: F401  skips where the exporter is absent
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

from ood_seg import compat
from ood_seg.config_files import resolve_config
from ood_seg.export.exporting import Options, export_onnx

compat.apply()
REAL = {
    "energy_fcn-erfnet_cityscapes": "erfnet_cityscapes_mmseg.pth",
    "energy_fcn-cgnet_cityscapes": "cgnet_m3n21_cityscapes_train_mmseg.pth",
}
RANDOM = [
    "energy_segformer-b0_cityscapes",
    "energy_pidnet-s_cityscapes",
    "energy_deeplabv3plus-r50_cityscapes",
    "energy_deepwv3plus-wrn38_cityscapes",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_weights_at_the_size_of_the_config(name, real_data, tmp_path):
    cfg = Config.fromfile(resolve_config(name))
    export_onnx(cfg, real_data / "weights" / REAL[name], tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").is_file()


@pytest.mark.slow
@pytest.mark.skipif("CI" in os.environ, reason="takes minutes and gigabytes")
@pytest.mark.parametrize("name", RANDOM)
def test_random_weights_at_any_size(name, tmp_path):
    cfg = Config.fromfile(resolve_config(name))
    torch.save({"state_dict": random_weights(cfg)}, tmp_path / "random.pth")
    export = export_onnx(
        cfg, tmp_path / "random.pth", tmp_path / "model.onnx", Options(size="dynamic")
    )
    assert export.files[0].is_file()
    assert export.card.size["kind"] == "own"


def random_weights(cfg):
    """Seeded weights with distinct logits, and batch norm statistics of noise."""
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    for name, parameter in model.decode_head.named_parameters():
        if name.endswith("weight") and parameter.shape[0] == 19:
            torch.nn.init.normal_(parameter, std=0.3)
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = None
    torch.nn.Module.train(model)
    noise = torch.randn(2, 3, 16, 24)
    with torch.no_grad():
        maps = torch.nn.functional.interpolate(noise, size=(128, 192), mode="bilinear")
        model.decode_head(model.extract_feat(maps))
    return model.state_dict()
