"""Preprocessing of a config for the export, and configs that are refused."""

import exported_tiny as tiny_export
import pytest
import tiny

from ood_seg.export.exporting import Options, export_onnx
from ood_seg.export.settings import check_exportable, preprocessing_of, size_rule, with_size


def test_preprocessing_of_the_tiny_network():
    found = preprocessing_of(tiny_export.config(), tiny.build())
    assert (found.size.kind, found.size.height, found.size.width) == ("fixed", 48, 64)
    assert (found.colour, found.divisor, found.pad_value) == ("rgb", 8, 0.0)
    assert found.mean == (127.5,) * 3
    assert found.std == (64.0,) * 3


@pytest.mark.parametrize(
    ("size", "kind", "height"), [("32x80", "fixed", 32), ("dynamic", "own", 0), (None, "fixed", 48)]
)
def test_size_replaces_the_pipeline(size, kind, height):
    cfg = tiny_export.config()
    rule = size_rule(with_size(cfg, size))
    assert (rule.kind, rule.height) == (kind, height)
    assert size_rule(cfg).height == 48


def test_bad_sizes_are_refused():
    for size in ("512", "0x64", "512x1024x3", "big"):
        with pytest.raises(ValueError, match=f"size.*HEIGHTxWIDTH.*'{size}'"):
            with_size(tiny_export.config(), size)


def test_unsupported_transforms_are_named():
    cfg = tiny_export.config()
    cfg.test_pipeline.insert(2, {"type": "RandomFlip", "prob": 0.0})
    with pytest.raises(ValueError, match=r"RandomFlip.*test pipeline.*--size"):
        size_rule(cfg)
    cfg = tiny_export.config({"scale_factor": 0.5})
    with pytest.raises(ValueError, match=r"Resize.*scale.*--size"):
        size_rule(cfg)
    cfg = tiny_export.config({"scale": (64, 48), "interpolation": "nearest"})
    with pytest.raises(ValueError, match=r"Resize.*bilinear.*cv2.*nearest"):
        size_rule(cfg)


def test_models_that_cannot_be_exported_are_refused():
    sliding = tiny.build(test_cfg={"mode": "slide", "crop_size": (32, 32), "stride": (16, 16)})
    with pytest.raises(ValueError, match=r"test_cfg\.mode.*'slide'.*test_cfg\.mode=whole"):
        check_exportable(sliding)


def test_bad_options_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"layout.*nhwc, nchw.*'hwc'"):
        Options(layout="hwc")
    with pytest.raises(ValueError, match=r"precision.*fp32, fp16, int8.*'bf16'"):
        Options(precision="bf16")
    with pytest.raises(ValueError, match=r"int8.*--calibration-images"):
        Options(precision="int8")
    with pytest.raises(ValueError, match=r"out.*\.onnx.*model\.pth"):
        export_onnx(tiny_export.config(), None, tmp_path / "model.pth")
