"""One way to any model: a config with its checkpoint, or an exported graph, as a `Segmentor`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ood_seg.perception.core.regions import Region
from ood_seg.perception.run.segmentor import Segmentor

if TYPE_CHECKING:
    from ood_seg.calibration import Calibration


def load_segmentor(
    model: str | Path,
    checkpoint: str | Path | None = None,
    *,
    exported: bool | None = None,
    device: str | None = None,
    local_rank: int | None = None,
    openvino: bool = False,
    calibration: str | Path | Calibration | bool | None = None,
    smoothing: Mapping[str, Any] | bool | None = None,
    operating_point: str | float | None = None,
    min_area: int | None = None,
    region: str | Sequence[str] | np.ndarray | Region | None = None,
    refinement: Any = None,
    boundary_suppression: int = 0,
    allow_other_model: bool = False,
) -> Segmentor:
    """Load a model for use.

    Args:
        model: a model of `ood-seg export-onnx`, which needs no torch; or a config: its path or the
            name of a shipped one. A config file is Python code and is executed.
        checkpoint: file of the weights; by default `load_from` of the config.
        exported: whether `model` is exported; None: if its suffix is `.onnx`.
        device: see `AnomalyInferencer` and `OnnxAnomalySegmentor`.
        local_rank: number of this process on its machine, which selects a GPU for a config; None
            for a single process.
        openvino: run an exported model with OpenVINO instead of ONNX Runtime.
        calibration, smoothing: of a config, see `AnomalyInferencer`; an exported model contains
            its own, which the calibration `none` or False switches off.
        operating_point, min_area, region, refinement, boundary_suppression: see `Segmentor`.
        allow_other_model: accept a calibration of another checkpoint, with a warning.

    Raises:
        FileNotFoundError: model or checkpoint does not exist.
        ValueError: a model that cannot be used, or an argument that does not apply to it.
    """
    decision: dict[str, Any] = {"operating_point": operating_point, "min_area": min_area}
    decision |= {"region": region, "refinement": refinement}
    decision["boundary_suppression"] = boundary_suppression
    if exported or (exported is None and Path(model).suffix == ".onnx"):
        off = calibration is False or calibration == "none"
        _refuse(
            checkpoint=checkpoint, calibration=None if off else calibration, smoothing=smoothing
        )
        from ood_seg.deploy.onnx_segmentor import OnnxAnomalySegmentor

        runtime = "openvino" if openvino else "onnxruntime"
        return OnnxAnomalySegmentor(
            model, runtime=runtime, device=device, calibrated=not off, **decision
        )
    if openvino:
        raise ValueError(f"--openvino applies to exported models (.onnx), not to config {model}")
    from ood_seg.startup import prepare

    prepare()  # before the first import of mmengine
    from ood_seg.apis.inferencer import AnomalyInferencer

    if device is None and local_rank is not None:
        device = _gpu(local_rank)
    return AnomalyInferencer(
        model,
        checkpoint,
        device,
        calibration=calibration,
        smoothing=smoothing,
        allow_other_model=allow_other_model,
        **decision,
    )


def _refuse(**options_of_configs: Any) -> None:
    for name, value in options_of_configs.items():
        if value is not None:
            raise ValueError(
                f"--{name} applies to configs; an exported model contains its own, so give it to "
                "`ood-seg export-onnx`"
            )


def _gpu(local_rank: int) -> str | None:
    """The GPU of a process of this machine; None if there is no GPU."""
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{local_rank % count}" if count else None
