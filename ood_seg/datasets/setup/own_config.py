"""The config of somebody's own data: a network, its data, and the plain score of its energies."""

from __future__ import annotations

import colorsys
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ood_seg.config_files import config_root, load_config, resolve_config

_BASES = ("_base_/models/erfnet_cityscapes.py", "_base_/default_runtime.py")
_ITERATIONS = 4000
_SCHEDULE = f"""
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=5e-4))
decay = dict(type="PolyLR", power=0.9, eta_min=1e-6, by_epoch=False)
param_scheduler = [dict(decay, begin=0, end={_ITERATIONS})]
train_cfg = dict(type="IterBasedTrainLoop", max_iters={_ITERATIONS}, val_interval=500)
"""
_WEIGHTS = """
# Training starts from the weights of the base, without those of its classifiers.
allowed_key_mismatch = [r"(decode_head|auxiliary_head)"]
"""
_REPLACED = (
    *("train_dataloader", "val_dataloader", "val_cfg", "fit_dataloader"),
    *("test_dataloader", "test_evaluator", "test_cfg"),
)
_LONGEST_SIDE, _STEP = 1024, 32

_TEXT = '''"""{title}"""

_base_ = {bases}

data_root = {data_root}
project = "{{{{ fileDirname }}}}"  # the folder of this file
{images}
metainfo = dict(
    classes={classes},
    palette={palette},
)
size = {size}  # width and height that the network sees in validation and use
crop = {crop}  # height and width of a training sample

model = dict(
    type="OODEncoderDecoder",
    data_preprocessor=dict({preprocessor}),{heads}
    energy_head=dict({delete_energy}type="EnergyHead", score=dict(type="Energy"), losses=[]),
)
{weights}
train_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="LoadCheckedLabels", num_classes={num_classes}),
    dict(type="RandomResize", scale=size, ratio_range=(0.75, 1.5), keep_ratio=False),
    dict(type="RandomCrop", crop_size=crop, cat_max_ratio=0.75),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="Resize", scale=size, keep_ratio=False),
    dict(type="LoadCheckedLabels", num_classes={num_classes}),
    dict(type="PackSegInputs"),
]
train_set = dict(
    type="BaseSegDataset",
    metainfo=metainfo,
    data_root="",
    ann_file=project + "/train.txt",
    data_prefix=dict(img_path=images, seg_map_path=labels),
    img_suffix={img_suffix},
    seg_map_suffix={seg_map_suffix},
    reduce_zero_label=False,
    pipeline=train_pipeline,
)
val_set = dict(train_set, ann_file=project + "/val.txt", pipeline=test_pipeline)
one_by_one = dict(batch_size=1, num_workers=2, sampler=dict(type="DefaultSampler", shuffle=False))
train_dataloader = dict(
    {delete_train_dataloader}batch_size={batch_size},
    num_workers=2,
    sampler=dict(type="StreamSampler"),
    dataset=dict(type="SeededSamples", dataset=train_set),
)
val_dataloader = dict({delete_val_dataloader}**one_by_one, dataset=val_set)
val_evaluator = [dict(type="KnownIoUMetric", iou_metrics=["mIoU"])]
val_cfg = dict({delete_val_cfg}type="ValLoop")
# Known images without augmentation, for `ood-seg fit`.
fit_dataloader = dict(
    {delete_fit_dataloader}**one_by_one, dataset=dict(train_set, pipeline=test_pipeline)
)
# Add images with anomalies here: docs/finetuning.md, "A model of your own".
test_dataloader = dict({delete_test_dataloader}val=dict(**one_by_one, dataset=val_set))
test_evaluator = dict({delete_test_evaluator}val=val_evaluator)
test_cfg = dict({delete_test_cfg}type="MultiSetTestLoop")
{schedule}'''


def own_config(
    project: Path,
    base: Base,
    *,
    title: str,
    classes: Sequence[str],
    palette: Sequence[tuple[int, int, int]],
    shape: tuple[int, int],
    num_train: int,
    data_root: Path,
    images: Path,
    labels: Path | None,
    img_suffix: str,
    seg_map_suffix: str,
) -> str:
    """Return the text of the config.

    Args:
        project: folder that it will be in, with `train.txt` and `val.txt`.
        base: the network.
        title: one line on the data.
        classes: names.
        palette: a colour RGB each.
        shape: usual height and width of the images.
        num_train: number of training images.
        data_root: folder of the data, absolute.
        images: folder of the images, below it.
        labels: folder of the label images, below it; None: `labels` in the project.
        img_suffix, seg_map_suffix: ends of the names after those in `train.txt`.
    """
    size = network_size(shape)
    where = 'project + "/labels"  # made of the masks'
    if labels is not None:
        where = _below(labels, data_root)
    return _TEXT.format(
        title=title,
        bases=base.text(os.path.realpath(project)),
        data_root=_quoted(data_root.as_posix()),
        images=f"images = {_below(images, data_root)}\nlabels = {where}",
        classes=_lines(classes),
        palette=_lines([list(colour) for colour in palette]),
        size=size,
        crop=(min(size[1], 384), min(size[0], 512)),
        num_classes=len(classes),
        img_suffix=_quoted(img_suffix),
        seg_map_suffix=_quoted(seg_map_suffix),
        batch_size=min(4, num_train),
        **base.entries(len(classes)),
    )


@dataclass(frozen=True)
class Base:
    """The config of a network that others build on.

    Attributes:
        path: of the config; None: ERFNet of the shipped ones.
        cfg: its values; empty for ERFNet.
    """

    path: Path | None = None
    cfg: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, config: str) -> Base:
        """Return the base of a path or name of a shipped config.

        Raises:
            FileNotFoundError: there is none.
            ValueError: its model is not mmseg's `EncoderDecoder` or that of this package.
        """
        cfg = load_config(config)
        kind = (cfg.get("model") or {}).get("type")
        if kind not in ("EncoderDecoder", "OODEncoderDecoder"):
            raise ValueError(f"--from {config}: expected a model EncoderDecoder, got {kind!r}")
        return cls(resolve_config(config), cfg)

    @property
    def last_checkpoint(self) -> str:
        """Name of the checkpoint that a whole training writes last."""
        found = self.cfg.get("train_cfg") or {}
        if not (self.cfg.get("optim_wrapper") and found):
            return f"iter_{_ITERATIONS}.pth"
        if "max_iters" in found:
            return f"iter_{found['max_iters']}.pth"
        return f"epoch_{found.get('max_epochs', 'N')}.pth"

    def text(self, folder: str) -> str:
        """Return `_base_` of a config in a folder."""
        paths = [self.path] if self.path else [config_root() / name for name in _BASES]
        relative = [
            Path(os.path.relpath(os.path.realpath(path), folder)).as_posix() for path in paths
        ]
        if self.path:
            return _quoted(relative[0])
        return "\n".join(["[", *(f"    {_quoted(path)}," for path in relative), "]"])

    def entries(self, num_classes: int) -> dict[str, str]:
        """Return the parts of the config that depend on what the base has."""
        model, cfg = self.cfg.get("model") or {}, self.cfg
        deleted = {
            f"delete_{name}": "_delete_=True, " if isinstance(cfg.get(name), Mapping) else ""
            for name in _REPLACED
        }
        has_energy = not model or "energy_head" in model
        has_size = (model.get("data_preprocessor") or {}).get("size")
        has_schedule = cfg.get("optim_wrapper") and cfg.get("train_cfg")
        return {
            **deleted,
            "delete_energy": "_delete_=True, " if has_energy else "",
            "preprocessor": "size=crop" if has_size else "",
            "heads": _heads(model, num_classes),
            "weights": _WEIGHTS if cfg.get("load_from") else "",
            "schedule": "" if has_schedule else _SCHEDULE,
        }


def network_size(shape: tuple[int, int]) -> tuple[int, int]:
    """Return width and height near those of the images, at most 1024, as multiples of 32."""
    factor = min(1.0, _LONGEST_SIDE / max(shape))
    height, width = (max(_STEP, round(side * factor / _STEP) * _STEP) for side in shape)
    return width, height


def distinct_colours(count: int) -> list[tuple[int, int, int]]:
    """Return colours RGB of evenly spread hues, for classes without colours of their own."""
    hues = ((index * 0.618034) % 1 for index in range(count))
    colours = (colorsys.hsv_to_rgb(hue, 0.65, 0.9) for hue in hues)
    return [tuple(round(channel * 255) for channel in colour) for colour in colours]  # type: ignore[misc]


def _below(folder: Path, root: Path) -> str:
    return f"data_root + {_quoted('/' + folder.relative_to(root).as_posix())}"


# A text as Python and as its formatters write it.
_quoted = partial(json.dumps, ensure_ascii=False)


def _lines(values: Sequence[Any]) -> str:
    return "\n".join(["[", *(f"        {_quoted(value)}," for value in values), "    ]"])


def _heads(model: Mapping[str, Any], num_classes: int) -> str:
    """The number of classes of all heads, and no class weights, which are those of others."""
    if not model:
        return f"\n    decode_head=dict(num_classes={num_classes}),"
    text = ""
    for name in ("decode_head", "auxiliary_head"):
        head = model.get(name)
        if isinstance(head, list):
            text += (
                f"\n    {name}=[dict(head, num_classes={num_classes}) for head in "
                f"_base_.model.{name}],"
            )
        elif head:
            loss = head.get("loss_decode")
            weighted = isinstance(loss, dict) and loss.get("class_weight") is not None
            more = ", loss_decode=dict(class_weight=None)" if weighted else ""
            text += f"\n    {name}=dict(num_classes={num_classes}{more}),"
    return text
