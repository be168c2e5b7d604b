"""Metadata of an export, from the model, its test pipeline and its calibration."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import ood_seg
from ood_seg.apis.inferencer import AnomalyInferencer
from ood_seg.deploy.model_card import ModelCard
from ood_seg.export.graph import InferenceGraph
from ood_seg.io.provenance import file_sha256, git_commit

if TYPE_CHECKING:
    from mmengine.config import Config


def model_card(
    inferencer: AnomalyInferencer,
    graph: InferenceGraph,
    cfg: Config,
    checkpoint: str | Path | None,
    precision_name: str,
) -> ModelCard:
    """The metadata of an export; arguments as for `export_onnx` and `inference_graph`."""
    rule, calibration = graph.preprocessing, inferencer.calibration
    energy_head = inferencer.model.energy_head
    smoothing = energy_head.smoothing
    weights = Path(checkpoint or cfg.load_from).expanduser()
    return ModelCard(
        classes=inferencer.palette.classes,
        palette=inferencer.palette.colours,
        score=inferencer.score_name,
        thresholds=dict(inferencer.thresholds),
        layout=graph.layout,
        colour=graph.colour,
        input_type=graph.input_type,
        size=asdict(rule.size),
        mean=rule.mean,
        std=rule.std,
        network_colour=rule.colour,
        divisor=rule.divisor,
        outputs=graph.outputs,
        channels=graph.channels,
        precision=precision_name,
        version=ood_seg.__version__,
        padded_size=rule.padded_size,
        temperature=getattr(energy_head.score, "temperature", None),
        smoothing=smoothing and {"kernel_size": smoothing.kernel_size, "sigma": smoothing.sigma},
        calibration=None if calibration is None else calibration.facts(),
        min_area=None if calibration is None else calibration.min_area,
        config=Path(cfg.filename).name if cfg.filename else None,
        config_sha256=hashlib.sha256(cfg.pretty_text.encode()).hexdigest(),
        checkpoint=weights.name,
        checkpoint_sha256=file_sha256(weights),
        commit=git_commit(),
    )
