"""Networks that take only some image sizes predict images of any size."""

import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS

import ood_seg.register  # noqa: F401
from ood_seg.apis import AnomalyInferencer
from ood_seg.models.input_sizes import size_divisor

init_default_scope("mmseg")


def unet(**preprocessor):
    """A U-Net of three stages that halves the image twice, without a `test_cfg` of its own."""
    return ConfigDict(
        type="OODEncoderDecoder",
        data_preprocessor=dict(
            type="SegDataPreProcessor", mean=[0.0] * 3, std=[255.0] * 3, **preprocessor
        ),
        backbone=dict(
            type="UNet", base_channels=4, num_stages=3, strides=(1, 1, 1), enc_num_convs=(1,) * 3,
            dec_num_convs=(1, 1), downsamples=(True, True), enc_dilations=(1,) * 3,
            dec_dilations=(1, 1),
        ),
        decode_head=dict(
            type="FCNHead", in_channels=4, channels=4, num_convs=0, concat_input=False,
            num_classes=3, in_index=-1,
        ),
        train_cfg=dict(),
        test_cfg=dict(mode="whole"),
    )  # fmt: skip


def test_divisors():
    assert size_divisor(MODELS.build(unet()).backbone) == 4
    strided = unet()
    strided.backbone.update(strides=(1, 2, 1), downsamples=(False, True))
    assert size_divisor(MODELS.build(strided).backbone) == 4
    assert size_divisor(torch.nn.Conv2d(3, 3, 1)) == 1


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ({}, {"size_divisor": 4}),
        ({"test_cfg": {"size_divisor": 6}}, {"size_divisor": 12}),
        ({"test_cfg": {"size": (64, 64)}}, {"size": (64, 64)}),
    ],
)
def test_padding_of_test_images(given, used):
    assert MODELS.build(unet(**given)).data_preprocessor.test_cfg == used


def test_an_image_of_any_size_is_predicted_and_padded_below_and_to_the_right(tmp_path):
    from mmengine.config import Config

    model = MODELS.build(unet())
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pth")
    steps = [{"type": "LoadImageFromFile"}, {"type": "PackSegInputs"}]
    cfg = Config({"model": unet(), "default_scope": "mmseg", "test_pipeline": steps})
    predict = AnomalyInferencer(cfg, tmp_path / "weights.pth", "cpu")
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    found = predict(image)
    assert found.anomaly.shape == (37, 53)
    padded = np.zeros((40, 56, 3), np.uint8)
    padded[:37, :53] = image
    assert np.allclose(found.anomaly, predict(padded).anomaly[:37, :53], atol=1e-5)
