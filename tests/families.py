"""Every family of models that mmsegmentation ships, in small: what is tried with each of them.

The table of docs/families.md is `table()`; `tests/models/test_families.py` tries each cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mmseg
import tiny
from mmengine.config import Config
from mmseg.models.backbones.resnet import BasicBlock, ResNet

NUM_CLASSES = 5
SIZE = (64, 96)  # height and width of the images


@dataclass(frozen=True)
class Family:
    """A shipped model, and what holds for it.

    Attributes:
        name: in the table.
        config: file below mmseg's configs.
        divisor: all widths are divided by it.
        changes: values of the model's config, after that; nested, lists by index.
        refused: for a use that is refused (`post-hoc`, `fine-tuning`, `export`), words of the
            message.
        note: text of the table's last column.
        needs: module without which it cannot be built.
        size: height and width of the images.
    """

    name: str
    config: str
    divisor: int = 16
    changes: dict[str, Any] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    note: str = ""
    needs: str = ""
    size: tuple[int, int] = SIZE


USES = ("post-hoc", "fine-tuning", "export")
_LIBRARIES = {
    "mmcv._ext": "the compiled operators of mmcv",
    "mmdet": "mmdetection; gives no logits of pixels",
    "mmpretrain": "mmpretrain",
}
_MODELS = "_base_/models/"
_VIT = {"img_size": SIZE, "num_layers": 4, "num_heads": 4, "out_indices": (0, 1, 2, 3)}
_UNET = {
    "decode_head": {"num_classes": NUM_CLASSES},
    "auxiliary_head": {"num_classes": NUM_CLASSES},
    "test_cfg": {"mode": "whole"},
}
_TWINS = {"depths": [1] * 4, "num_heads": [1, 1, 2, 2]}
_HRNET = {
    "extra": {
        "stage1": {"num_blocks": (1,)},
        "stage2": {"num_blocks": (1, 1), "num_channels": (4, 8)},
        "stage3": {"num_modules": 1, "num_blocks": (1,) * 3, "num_channels": (4, 8, 16)},
        "stage4": {"num_modules": 1, "num_blocks": (1,) * 4, "num_channels": (4, 8, 16, 32)},
    }
}
# One block a stage, since tracing takes time for each layer; mmseg itself has no smaller than 18.
_RESNET_DEPTH = 10
ResNet.arch_settings.setdefault(_RESNET_DEPTH, (BasicBlock, (1, 1, 1, 1)))
_HRNET_HEAD = {"in_channels": [4, 8, 16, 32], "channels": 60}


def _resnet(name: str, file: str, **options: Any) -> Family:
    return Family(name, f"{_MODELS}{file}_r50-d8.py", **options)


FAMILIES = (
    _resnet("ANN", "ann"),
    _resnet("APCNet", "apcnet"),
    Family("BiSeNetV1", _MODELS + "bisenetv1_r18-d32.py", 8),
    Family("BiSeNetV2", _MODELS + "bisenetv2.py", 4),
    _resnet("CCNet", "ccnet", needs="mmcv._ext"),
    Family("CGNet", _MODELS + "cgnet.py", 4, {"backbone": {"num_blocks": (2, 2)}}),
    _resnet("DANet", "danet"),
    Family("DDRNet", "ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py", 4),
    _resnet("DeepLabV3", "deeplabv3"),
    _resnet("DeepLabV3+", "deeplabv3plus"),
    _resnet(
        "DMNet",
        "dmnet",
        refused={"export": "cannot be exported to ONNX"},
        note="makes its filters from the image, one group of convolutions for each",
    ),
    _resnet("DNLNet", "dnl"),
    Family("DPT", _MODELS + "dpt_vit-b16.py", changes={"backbone": _VIT}),
    _resnet("EMANet", "emanet"),
    _resnet("EncNet", "encnet"),
    Family("ERFNet", _MODELS + "erfnet_fcn.py", 1),
    Family("FastFCN", _MODELS + "fastfcn_r50-d32_jpu_psp.py"),
    Family("Fast-SCNN", _MODELS + "fast_scnn.py", 4),
    _resnet("FCN", "fcn"),
    _resnet("GCNet", "gcnet"),
    Family("HRNet", _MODELS + "fcn_hr18.py", 4, {"backbone": _HRNET, "decode_head": _HRNET_HEAD}),
    Family("ICNet", _MODELS + "icnet_r50-d8.py"),
    _resnet("ISANet", "isanet"),
    Family(
        "K-Net",
        "knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py",
        refused={"export": "cannot be exported to ONNX"},
        note="its kernels fix the number of images in the exported graph",
    ),
    Family("LR-ASPP (MobileNetV3)", _MODELS + "lraspp_m-v3-d8.py", 1, size=(400, 400)),
    Family(
        "Mask2Former", "mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py", needs="mmdet"
    ),
    Family(
        "MaskFormer", "maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512.py", needs="mmdet"
    ),
    _resnet("Non-local", "nonlocal"),
    _resnet("OCRNet", "ocrnet"),
    Family(
        "OCRNet (HRNet)",
        _MODELS + "ocrnet_hr18.py",
        4,
        {"backbone": _HRNET, "decode_head": [_HRNET_HEAD, {"in_channels": [4, 8, 16, 32]}]},
    ),
    Family("PIDNet", "pidnet/pidnet-s_2xb6-120k_1024x1024-cityscapes.py", 4),
    Family(
        "PointRend",
        _MODELS + "pointrend_r50.py",
        refused={
            "fine-tuning": "PointHead computes its own training loss",
            "export": "PointHead.predict",
        },
        note="its last head classifies points, not a map; scores of logits only",
    ),
    Family("PoolFormer", _MODELS + "fpn_poolformer_s12.py", needs="mmpretrain"),
    _resnet("PSANet", "psanet", needs="mmcv._ext"),
    _resnet("PSPNet", "pspnet"),
    Family(
        "SAN",
        _MODELS + "san_vit-b16.py",
        refused=dict.fromkeys(USES, "backbone"),
        note="compares proposals with words; there are no logits of pixels",
    ),
    Family(
        "SegFormer",
        _MODELS + "segformer_mit-b0.py",
        4,
        {
            "backbone": {"num_layers": [1] * 4, "num_heads": [1, 2, 2, 4], "embed_dims": 4},
            "decode_head": {"in_channels": [4, 8, 8, 16]},
        },
    ),
    Family(
        "Segmenter",
        _MODELS + "segmenter_vit-b16_mask.py",
        changes={"backbone": _VIT, "decode_head": {"num_heads": 4}, "test_cfg": {"mode": "whole"}},
    ),
    Family(
        "SegNeXt",
        "segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512.py",
        4,
        {"backbone": {"depths": [1] * 4}, "decode_head": {"norm_cfg": {"num_groups": 4}}},
        refused={"export": "differs from the same graph in torch"},
        note="starts from random numbers: two predictions of one image differ slightly",
    ),
    Family("Semantic FPN", _MODELS + "fpn_r50.py"),
    Family("SETR-MLA", _MODELS + "setr_mla.py", changes={"backbone": _VIT}),
    Family("SETR-naive", _MODELS + "setr_naive.py", changes={"backbone": _VIT}),
    Family("SETR-PUP", _MODELS + "setr_pup.py", changes={"backbone": _VIT}),
    Family("STDC", _MODELS + "stdc.py", 4),
    Family("Twins (FPN)", _MODELS + "twins_pcpvt-s_fpn.py", 8, changes={"backbone": _TWINS}),
    Family(
        "Twins (UPerNet)", _MODELS + "twins_pcpvt-s_upernet.py", 8, changes={"backbone": _TWINS}
    ),
    Family("U-Net (DeepLabV3)", _MODELS + "deeplabv3_unet_s5-d16.py", 8, _UNET),
    Family("U-Net (FCN)", _MODELS + "fcn_unet_s5-d16.py", 8, _UNET),
    Family("U-Net (PSPNet)", _MODELS + "pspnet_unet_s5-d16.py", 8, _UNET),
    Family("UPerNet", _MODELS + "upernet_r50.py"),
    Family("UPerNet (BEiT)", _MODELS + "upernet_beit.py", changes={"backbone": _VIT}),
    Family("UPerNet (ConvNeXt)", _MODELS + "upernet_convnext.py", needs="mmpretrain"),
    Family(
        "UPerNet (MAE)",
        _MODELS + "upernet_mae.py",
        changes={
            "backbone": _VIT,
            "neck": {"embed_dim": 48},
            "decode_head": {"in_channels": [48] * 4},
            "auxiliary_head": {"in_channels": 48},
        },
    ),
    Family(
        "UPerNet (Swin)",
        _MODELS + "upernet_swin.py",
        4,
        {"backbone": {"depths": [2, 1, 1, 1]}},  # each second layer shifts its windows
        note="exported with few layers; an export of Swin-T did not end within five minutes",
    ),
    Family("UPerNet (ViT)", _MODELS + "upernet_vit-b16_ln_mln.py", changes={"backbone": _VIT}),
    Family(
        "VPD",
        _MODELS + "vpd_sd.py",
        refused=dict.fromkeys(USES, "decode_head"),
        note="estimates depth; there are no classes",
    ),
)


def config_folder() -> Path:
    """Folder of mmseg's shipped configs."""
    return Path(mmseg.__file__).parent / ".mim" / "configs"


def shipped(name: str) -> Config:
    """A config of mmseg, by its path below its configs."""
    return Config.fromfile(config_folder() / name, import_custom_modules=False)


def _cell(family: Family, use: str) -> str:
    if family.needs:
        return "not tried"
    return "no" if use in family.refused else "yes"


def table() -> str:
    """The table of docs/families.md."""
    rows = ["| family | " + " | ".join(USES) + " | remark |", "|---|---|---|---|---|"]
    for family in FAMILIES:
        cells, note = [_cell(family, use) for use in USES], family.note
        if family.needs:
            note = f"needs {_LIBRARIES[family.needs]}"
        rows.append(f"| {' | '.join([family.name, *cells, note]).rstrip()} |")
    return "\n".join(rows) + "\n"


def small_model(family: Family) -> dict[str, Any]:
    """The family's model, of a few thousand parameters, as mmseg builds it."""
    model = _small(shipped(family.config).model.to_dict(), family.divisor)
    _merge(model, family.changes)
    return model | {"data_preprocessor": tiny.model_config()["data_preprocessor"]}


def _small(value: Any, divisor: int) -> Any:
    """The same config with small widths, five classes and batch norms of one process."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return type(value)(_small(one, divisor) for one in value)
    if not isinstance(value, dict):
        return value
    found = {}
    for key, inner in value.items():
        if key in ("init_cfg", "pretrained", "class_weight"):
            continue
        is_width = key.endswith("channels") or key.startswith("embed_dim")
        found[key] = _divided(inner, divisor) if is_width else _small(inner, divisor)
    if found.get("type") == "SyncBN":
        found["type"] = "BN"
    if found.get("num_classes", 2) > 2:
        found["num_classes"] = NUM_CLASSES
    if str(found.get("type")).startswith("ResNet"):
        # Basic blocks have a quarter of the output widths of the bottlenecks of a ResNet-50.
        width = 64 // divisor * (4 if found["depth"] == 50 else 1)
        found |= {"depth": _RESNET_DEPTH, "base_channels": width, "stem_channels": width}
    return found


def _divided(value: Any, divisor: int) -> Any:
    if isinstance(value, Sequence):
        return type(value)(_divided(one, divisor) for one in value)
    return value if value <= 3 else value // divisor


def _merge(target: Any, changes: Any) -> None:
    """Put values into a nested config, in place; a list gives one change for each entry."""
    for key, value in changes.items() if isinstance(changes, dict) else enumerate(changes):
        nested = isinstance(value, dict) or (isinstance(value, list) and isinstance(value[0], dict))
        if nested and target.get(key) if isinstance(target, dict) else nested:
            _merge(target[key], value)
        else:
            target[key] = value
