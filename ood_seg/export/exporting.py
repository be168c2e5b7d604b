"""One call from config and checkpoint to a checked ONNX file with its side-cars.

```
config, checkpoint -> AnomalyInferencer -> InferenceGraph -> onnx_file.to_onnx -> precision, if any
    -> metadata -> file -> check against torch and against the test pipeline -> side-cars
```
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ood_seg
from ood_seg.apis.inferencer import AnomalyInferencer
from ood_seg.deploy.model_card import COLOURS, INPUT_TYPES, LAYOUTS, ModelCard
from ood_seg.export import check, onnx_file, precision, sidecars
from ood_seg.export.check import as_input
from ood_seg.export.graph import InferenceGraph
from ood_seg.export.layers import with_fast_layers
from ood_seg.export.settings import check_exportable, preprocessing_of, with_size
from ood_seg.io.images import read_image
from ood_seg.io.provenance import file_sha256, git_commit

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config


@dataclass(frozen=True)
class Export:
    """What an export wrote and what its check saw.

    Attributes:
        files: the model first, then its side-cars.
        card: the metadata.
        graph: ONNX Runtime against the same graph in torch, one for each size.
        pipeline: ONNX Runtime against the config's test pipeline and model.
        reduced: the file in reduced precision against the one in full; empty for `fp32`.
    """

    files: list[Path]
    card: ModelCard
    graph: list[check.Agreement]
    pipeline: list[check.Agreement]
    reduced: list[check.Agreement]


@dataclass(frozen=True)
class Options:
    """How to export.

    Attributes:
        layout: `nhwc` or `nchw`, of the input.
        colour: `bgr` or `rgb`, of the input.
        input_type: `uint8`, or `float32` of whole numbers 0..255.
        size: what the network sees: `HEIGHTxWIDTH`, `dynamic` for the image's own size, or None
            for what the config's test pipeline does.
        logits: whether to give the logits as well.
        precision: `fp32`, `fp16` or `int8`, of the network.
        calibration_images: known-class pictures from which int8 takes its ranges.
        opset: version of the ONNX operators.

    Raises:
        ValueError: none of these, or int8 without pictures.
    """

    layout: str = "nhwc"
    colour: str = "bgr"
    input_type: str = "uint8"
    size: str | None = None
    logits: bool = False
    precision: str = "fp32"
    calibration_images: Sequence[Path] = ()
    opset: int = onnx_file.DEFAULT_OPSET

    def __post_init__(self) -> None:
        choices = {
            "layout": LAYOUTS,
            "colour": COLOURS,
            "input_type": INPUT_TYPES,
            "precision": precision.NAMES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name}: expected one of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        if (self.precision == "int8") != bool(self.calibration_images):
            raise ValueError(
                "int8 needs calibration images, pictures of known classes from which it takes the "
                "ranges of activations, and nothing else does; give --calibration-images FOLDER"
            )


def export_onnx(
    cfg: Config,
    checkpoint: str | Path | None,
    out: str | Path,
    options: Options | None = None,
    *,
    calibration: str | Path | None = None,
    report: Callable[[str], Any] = lambda line: None,
) -> Export:
    """Export a model; the file appears at `out` only if it agrees with torch.

    Args:
        cfg: the config.
        checkpoint: its weights; None: the config's `load_from`.
        out: file to write, `.onnx`.
        options: None: the defaults.
        calibration: file of `ood-seg calibrate`; then `anomaly` is a probability.
        report: told of each step.

    Raises:
        ValueError: `out` cannot be written, a picture cannot be read, a model that cannot be
            exported or converted, or a check that failed (the file is then kept under another name,
            which the message says).
    """
    out, options = Path(out), options or Options()
    _check_target(out)
    images = [read_image(name)[None] for name in options.calibration_images]
    cfg = with_size(cfg, options.size)
    inferencer = AnomalyInferencer(cfg, checkpoint, "cpu", calibration=calibration)
    check_exportable(inferencer.model)
    graph = inference_graph(inferencer, cfg, options)
    card = model_card(inferencer, graph, cfg, checkpoint, options.precision)
    report("exporting, which takes some 10 to 60 seconds")
    model = onnx_file.to_onnx(graph, opset=options.opset)
    onnx_file.set_properties(model, card.to_properties())
    aside = out.with_name(f"{out.stem}.failed.onnx")
    onnx_file.save(model, aside)
    report("comparing ONNX Runtime with torch at three sizes")
    same, real = _compare(aside, graph, inferencer)
    reduced = _reduce(aside, graph, options.precision, images, report)
    onnx_file.move(aside, out)
    return Export([out, *sidecars.write(card, out)], card, same, real, reduced)


def _check_target(out: Path) -> None:
    """Refuse what cannot be written, before the work."""
    if out.suffix != ".onnx":
        raise ValueError(f"out: expected a file that ends in .onnx, got {out}")
    if out.is_dir():
        raise ValueError(f"out: {out} is a folder, expected a file")
    blocking = next((part for part in out.parents if part.exists()), Path())
    if not blocking.is_dir():
        raise ValueError(f"out: {blocking} is a file, so {out} cannot be in it")


def _compare(
    path: Path, graph: InferenceGraph, inferencer: AnomalyInferencer
) -> tuple[list[check.Agreement], list[check.Agreement]]:
    """The file against the graph in torch, and against the config's own test pipeline."""
    exported = check.file_predictor(path, graph)
    found = []
    for other, name in (
        (check.torch_predictor(graph), "the same graph in torch"),
        (check.pipeline_predictor(inferencer), "the config's test pipeline"),
    ):
        found.append(check.compare_all(exported, other, graph))
        wrong = [agreement for agreement in found[-1] if not agreement.holds]
        if wrong:
            raise ValueError(
                f"the exported model differs from {name}: {wrong[0]}; expected labels equal on "
                f"{100 * check.LEAST_EQUAL_LABELS:g} % and scores to "
                f"{check.LARGEST_DIFFERENCE:g}. The file is kept as {path}"
            )
    return found[0], found[1]


def _reduce(
    path: Path,
    graph: InferenceGraph,
    name: str,
    images: Sequence[np.ndarray],
    report: Callable[[str], Any],
) -> list[check.Agreement]:
    """Convert the file in place; how it then differs from what it was."""
    if name == "fp32":
        return []
    report(f"converting to {name}")
    full = check.file_predictor(path, graph)
    try:
        precision.convert(path, name, [as_input(image, graph) for image in images])
    except Exception as error:  # those of ONNX Runtime share no base class
        onnx_file.remove(path)
        raise ValueError(
            f"this network cannot be converted to {name}: {onnx_file.innermost(error)}; export it "
            "in fp32"
        ) from error
    reduced = check.file_predictor(path, graph)
    found = check.compare_all(reduced, full, graph)
    if not all(agreement.finite for agreement in found):
        raise ValueError(f"in {name} scores are NaN or infinite; the file is kept as {path}")
    return found


def inference_graph(inferencer: AnomalyInferencer, cfg: Config, options: Options) -> InferenceGraph:
    """The inferencer's model, pipeline and calibration as one module."""
    calibration = inferencer.calibration
    outputs = ["labels", "anomaly"]
    outputs += ["score"] if calibration is not None else []
    outputs += ["logits"] if options.logits else []
    return InferenceGraph(
        with_fast_layers(inferencer.model),
        preprocessing_of(cfg, inferencer.model),
        layout=options.layout,
        colour=options.colour,
        input_type=options.input_type,
        curve=None if calibration is None else calibration.curve,
        outputs=tuple(outputs),
    ).eval()


def model_card(
    inferencer: AnomalyInferencer,
    graph: InferenceGraph,
    cfg: Config,
    checkpoint: str | Path | None,
    precision_name: str,
) -> ModelCard:
    """The metadata of an export."""
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
        size={"kind": rule.size.kind, "height": rule.size.height, "width": rule.size.width},
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
        calibration=calibration
        and {
            "method": calibration.method,
            "parameters": asdict(calibration.curve),
            "data_set": calibration.data_set,
            "assumed_prior": calibration.assumed_prior,
        },
        min_area=calibration and calibration.min_area,
        config=Path(cfg.filename).name if cfg.filename else None,
        config_sha256=hashlib.sha256(cfg.pretty_text.encode()).hexdigest(),
        checkpoint=weights.name,
        checkpoint_sha256=file_sha256(weights),
        commit=git_commit(),
    )
