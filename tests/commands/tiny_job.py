"""A tiny anomaly segmentor with data on disk: what the command tests train, test and run."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

# Odd, and not the size that the network sees.
HEIGHT, WIDTH = 37, 53

_CONFIG = '''"""Tiny network on tiny images."""
custom_imports = dict(imports=["ood_seg.register"], allow_failed_imports=False)
default_scope = "mmseg"
norm_cfg = dict(type="BN")
model = dict(
    type="OODEncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor", mean=[0.0] * 3, std=[255.0] * 3, bgr_to_rgb=True,
        pad_val=0, seg_pad_val=255, size=(32, 48), test_cfg=dict(size_divisor=2),
    ),
    backbone=dict(
        type="UNet", base_channels=WIDTH_OF_NETWORK, num_stages=2, strides=(1, 1),
        enc_num_convs=(1, 1), dec_num_convs=(1,), downsamples=(True,), enc_dilations=(1, 1),
        dec_dilations=(1,), norm_cfg=norm_cfg,
    ),
    decode_head=dict(
        type="FCNHead", in_channels=WIDTH_OF_NETWORK, channels=WIDTH_OF_NETWORK, in_index=-1,
        num_convs=0, concat_input=False, num_classes=3, norm_cfg=norm_cfg,
        loss_decode=dict(type="CrossEntropyLoss"),
    ),
    energy_head=dict(type="EnergyHead", losses=[]),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
labels = dict(type="LoadCheckedLabels", num_classes=3)
pipeline = [
    dict(type="LoadCheckedImage"),
    dict(type="Resize", scale=(48, 32), keep_ratio=False),
    labels,
    dict(type="PackSegInputs"),
]
train_pipeline = [
    dict(type="LoadCheckedImage"),
    labels,
    dict(type="Resize", scale=(48, 32), keep_ratio=False),
    dict(type="PackSegInputs"),
]
known = dict(
    type="BaseSegDataset", data_root="DATA_ROOT", img_suffix=".png", seg_map_suffix=".png",
    data_prefix=dict(img_path="images", seg_map_path="labels"), reduce_zero_label=False,
    metainfo=dict(
        classes=("road", "sky", "car"), palette=[[128, 64, 128], [70, 130, 180], [0, 0, 142]]
    ),
    pipeline=pipeline,
)
anomaly = dict(
    type="AnomalyFolderDataset", data_root="DATA_ROOT", label_map={0: 0, 1: 1, 255: 255},
    data_prefix=dict(img_path="images", seg_map_path="masks"),
    pipeline=[pipeline[0], pipeline[1], dict(type="LoadCheckedLabels"), pipeline[3]],
)
loader = dict(batch_size=1, num_workers=0, sampler=dict(type="DefaultSampler", shuffle=False))
train_dataloader = dict(
    batch_size=2, num_workers=0, sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(known, pipeline=train_pipeline),
)
test_dataloader = dict(
    anomalies=dict(loader, dataset=anomaly), street=dict(loader, dataset=known)
)
test_evaluator = dict(
    anomalies=[dict(type="AnomalyMetric")],
    street=[dict(type="KnownIoUMetric", iou_metrics=["mIoU"])],
)
test_cfg = dict(type="MultiSetTestLoop")
tta_model = dict(type="OODTTAModel")
tta_pipeline = [
    pipeline[0],
    dict(
        type="TestTimeAug",
        transforms=[
            [pipeline[1]],
            [dict(type="RandomFlip", prob=p, direction="horizontal") for p in (0.0, 1.0)],
            [dict(type="LoadCheckedLabels")],
            [pipeline[3]],
        ],
    ),
]
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="SGD", lr=0.05, momentum=0.9))
param_scheduler = []
train_cfg = dict(type="IterBasedTrainLoop", max_iters=4, val_interval=100)
default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=1, log_metric_by_epoch=False),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="AnomalyVisualizationHook"),
)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="SegLocalVisualizer", vis_backends=vis_backends)
log_processor = dict(by_epoch=False)
randomness = dict(seed=3)
load_from = None
resume = False
'''


def write_job(folder: Path, *, channels: int = 4) -> Path:
    """Write images, labels, masks and a config; return the config's path."""
    rng = np.random.default_rng(0)
    values = {"images": 256, "labels": 3, "masks": 2}
    for name, high in values.items():
        (folder / name).mkdir(exist_ok=True)
        shape = (HEIGHT, WIDTH, 3) if name == "images" else (HEIGHT, WIDTH)
        for index in range(3):
            pixels = rng.integers(0, high, shape).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{index}.png"), pixels)
    text = _CONFIG.replace("WIDTH_OF_NETWORK", str(channels))
    path = folder / f"tiny{channels}.py"
    path.write_text(text.replace("DATA_ROOT", folder.as_posix()), encoding="utf-8")
    return path


def write_weights(config: Path, path: Path, *, seed: int = 0) -> Path:
    """Save random weights of a config's model."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    cfg = Config.fromfile(config)
    init_default_scope("mmseg")
    torch.manual_seed(seed)
    model = MODELS.build(cfg.model)
    torch.save({"state_dict": model.state_dict(), "meta": {}}, path)
    return path
