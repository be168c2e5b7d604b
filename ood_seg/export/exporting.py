"""Export of a config and checkpoint to a checked ONNX file with its sidecars.

```
config, checkpoint -> AnomalyInferencer -> InferenceGraph -> onnx_file.to_onnx -> metadata -> file
    -> check against torch and the test pipeline -> reduced precision, if any -> sidecars
```
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ood_seg.apis.inferencer import AnomalyInferencer
from ood_seg.deploy.model_card import COLOURS, INPUT_TYPES, LAYOUTS, ModelCard
from ood_seg.export import check, onnx_file, precision, sidecars
from ood_seg.export.card import model_card
from ood_seg.export.check import as_input
from ood_seg.export.graph import InferenceGraph
from ood_seg.export.layers import with_exportable_layers
from ood_seg.export.settings import check_exportable, preprocessing_of, with_size
from ood_seg.io.files import require_writable
from ood_seg.io.images import read_image

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config


@dataclass(frozen=True)
class Export:
    """Files and checks of an export.

    Attributes:
        files: the model first, then its sidecars.
        card: the metadata.
        graph: ONNX Runtime against the same graph in torch, one for each size.
        pipeline: ONNX Runtime against the config's test pipeline and model.
        reduced: the file in reduced precision against the one in float32; empty for `fp32`.
    """

    files: list[Path]
    card: ModelCard
    graph: list[check.Agreement]
    pipeline: list[check.Agreement]
    reduced: list[check.Agreement]

    def __str__(self) -> str:
        card, model = self.card, self.files[0]
        lines = [
            f"{model}, {model.stat().st_size / 1e6:.1f} MB",
            f"input {card.input_type} {card.layout} {card.colour}; {', '.join(card.outputs)}",
        ]
        for title, found in (
            ("ONNX Runtime and the same graph in torch:", self.graph),
            ("ONNX Runtime and the config's test pipeline:", self.pipeline),
            (f"{card.precision} and fp32 (labels and scores may differ):", self.reduced),
        ):
            lines += [title, *(f"  {agreement}" for agreement in found)] if found else []
        return "\n".join([*lines, "sidecars: " + ", ".join(path.name for path in self.files[1:])])


@dataclass(frozen=True)
class Options:
    """Options of an export.

    Attributes:
        layout: `nhwc` or `nchw`, of the input.
        colour: `bgr` or `rgb`, of the input.
        input_type: `uint8`, or `float32` of integers 0..255.
        size: input size of the network: `HEIGHTxWIDTH`, `dynamic` for the image's own size, or
            None for the size rule of the config's test pipeline.
        logits: whether the logits are an output.
        precision: `fp32`, `fp16` or `int8`, of the network.
        calibration_images: images of known classes for the activation ranges of int8.
        opset: version of the ONNX operators.

    Raises:
        ValueError: an unknown value, int8 without images, or images without int8.
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
                "int8 needs calibration images, images of known classes for the ranges of the "
                "activations, and no other precision uses them; add --calibration-images FOLDER"
            )


def export_onnx(
    cfg: Config,
    checkpoint: str | Path | None,
    out: str | Path,
    options: Options | None = None,
    *,
    calibration: str | Path | bool | None = None,
    allow_other_model: bool = False,
    report: Callable[[str], Any] = lambda line: None,
) -> Export:
    """Export a model; the file appears at `out` only if it agrees with torch.

    Args:
        cfg: the config.
        checkpoint: its weights; None: the config's `load_from`.
        out: file to write, `.onnx`.
        options: None: the defaults.
        calibration: file of `ood-seg calibrate`; None: that beside the config, if it fits; False:
            none. With one of a curve, `anomaly` is a probability.
        allow_other_model: accept a calibration of another checkpoint, with a warning.
        report: called with a line of text before each slow step.

    Raises:
        OSError: a full disk; nothing is left of the export.
        ValueError: `out` cannot be written, an image cannot be read, the model cannot be exported
            or converted, or a check failed (the file is then kept under another name, which the
            message gives).
    """
    out, options = Path(out), options or Options()
    _check_target(out)
    images = [read_image(name)[None] for name in options.calibration_images]
    cfg = with_size(cfg, options.size)
    inferencer = AnomalyInferencer(
        cfg, checkpoint, "cpu", calibration=calibration, allow_other_model=allow_other_model
    )
    check_exportable(inferencer.model)
    report(inferencer.calibration_note)
    report("preparing the graph")
    graph = inference_graph(inferencer, cfg, options)
    card = model_card(inferencer, graph, cfg, checkpoint, options.precision)
    report("exporting (10 to 60 seconds, and minutes for deep transformers)")
    model = onnx_file.to_onnx(graph, opset=options.opset)
    onnx_file.set_properties(model, card.to_properties())
    unchecked = out.with_name(f"{out.stem}.failed.onnx")
    try:
        onnx_file.save(model, unchecked)
        report("comparing ONNX Runtime with torch at three sizes")
        in_torch, in_pipeline = _compare(unchecked, graph, inferencer)
        reduced = _reduce(unchecked, graph, options.precision, images, report)
        with sidecars.written(card, out) as files:
            onnx_file.move(unchecked, out)
    except OSError:  # such as a full disk, on which nothing should be left
        onnx_file.remove(unchecked)
        raise
    return Export([out, *files], card, in_torch, in_pipeline, reduced)


def _check_target(out: Path) -> None:
    """Raise before any work if `out` cannot be written."""
    if out.suffix != ".onnx":
        raise ValueError(f"out: expected a file that ends in .onnx, got {out}")
    if os.path.isdir(out):  # unlike Path.is_dir, raises no error for names that are too long
        raise ValueError(f"out: {out} is a folder, expected a file")
    try:
        require_writable(out.parent)
    except OSError as error:
        raise ValueError(f"out: {out} cannot be written ({error})") from error


def _compare(
    path: Path, graph: InferenceGraph, inferencer: AnomalyInferencer
) -> tuple[list[check.Agreement], list[check.Agreement]]:
    """The file against the graph in torch, and against the config's own test pipeline."""
    exported = check.file_predictor(path, graph)
    found = []
    for reference, name in (
        (check.torch_predictor(graph), "the same graph in torch"),
        (check.pipeline_predictor(inferencer), "the config's test pipeline"),
    ):
        found.append(check.compare_all(exported, reference, graph))
        for agreement in found[-1]:
            if not agreement.holds:
                raise ValueError(
                    f"the exported model differs from {name}: {agreement}; expected "
                    f"{agreement.requirement}. The file is kept as {path}"
                )
    return found[0], found[1]


def _reduce(
    path: Path,
    graph: InferenceGraph,
    name: str,
    images: Sequence[np.ndarray],
    report: Callable[[str], Any],
) -> list[check.Agreement]:
    """Convert the file in place and compare it with its form in float32."""
    if name == "fp32":
        return []
    report(f"converting to {name}")
    full = check.file_predictor(path, graph)
    try:
        precision.convert(path, name, [as_input(image, graph) for image in images])
    except OSError:
        raise
    except Exception as error:  # the errors of ONNX Runtime have no common base class
        onnx_file.remove(path)
        raise ValueError(
            f"this network cannot be converted to {name}: {onnx_file.innermost(error)}; export it "
            "in fp32"
        ) from error
    found = check.compare_all(check.file_predictor(path, graph), full, graph)
    if not all(agreement.finite for agreement in found):
        raise ValueError(f"in {name} scores are NaN or infinite; the file is kept as {path}")
    return found


def inference_graph(inferencer: AnomalyInferencer, cfg: Config, options: Options) -> InferenceGraph:
    """The inferencer's model, test pipeline and calibration as one module.

    Raises:
        ValueError: see `preprocessing_of`.
    """
    curve = None if inferencer.calibration is None else inferencer.calibration.curve
    outputs = ["labels", "anomaly"]
    outputs += ["score"] if curve is not None else []
    outputs += ["logits"] if options.logits else []
    return InferenceGraph(
        with_exportable_layers(inferencer.model),
        preprocessing_of(cfg, inferencer.model),
        layout=options.layout,
        colour=options.colour,
        input_type=options.input_type,
        curve=curve,
        outputs=tuple(outputs),
    ).eval()
