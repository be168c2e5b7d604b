"""Time per frame: labels alone and with the anomaly map, in torch, ONNX Runtime and OpenVINO.

    python benchmarks/latency.py [CONFIG ...] [--size 512x1024] [--repeat 15] [--threads 2]
        [--int8-images FOLDER] [--video FILE] [--skip compile openvino ...]

The input are 8-bit images, the output labels (and scores) of their size, so each number includes
normalisation, interpolation and arg-max. All variants are loaded first and then called in turns,
so that other load on the machine affects all alike, each after a call that is not timed. Median,
95th percentile and ratios are of the same run. `eager` is the config's own inferencer, which
computes labels and score without full-size logits; labels alone are mmseg's own, from full-size
logits. `mmseg` computes the score from those as well. `--video` compares the frame rate of the
stream of `OnnxAnomalySegmentor` with that of the same model on frames in memory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CONFIGS = ("energy_fcn-erfnet_cityscapes", "energy_fcn-cgnet_cityscapes")
WAYS = ("eager", "mmseg", "compile", "onnx", "int8", "openvino")
TITLES = {
    "eager": "torch eager",
    "mmseg": "torch eager, full-size logits",
    "compile": "torch.compile",
    "onnx": "ONNX Runtime fp32",
    "int8": "ONNX Runtime int8",
    "openvino": "OpenVINO fp32",
}
Call = Callable[[np.ndarray], object]


def main() -> None:
    """Measure every config and print a table for each."""
    args = parse_arguments()
    import cv2
    import torch

    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    from ood_seg.startup import prepare

    prepare()
    for config in args.configs:
        with tempfile.TemporaryDirectory() as folder:
            calls, files, left_out = prepare_calls(config, Path(folder), args)
            times = measure(calls, frame(args), args.repeat)
            print_table(config, times, left_out, args)
            if args.video is not None:
                print_video_rate(files["onnx", True], args)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="*", default=CONFIGS)
    parser.add_argument("--size", default="512x1024", help="of the image, HEIGHTxWIDTH")
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--int8-images", nargs="+", default=[], help="images of known classes")
    parser.add_argument("--video", type=Path, help="also measure this clip end to end")
    parser.add_argument("--skip", nargs="+", choices=WAYS, default=[], help="ways to leave out")
    return parser.parse_args()


def frame(args: argparse.Namespace) -> np.ndarray:
    """A made-up image of the size that is measured."""
    from ood_seg.export.check import synthetic_images

    height, width = map(int, args.size.split("x"))
    return synthetic_images((1, height, width))[0]


def prepare_calls(
    config: str, folder: Path, args: argparse.Namespace
) -> tuple[dict[tuple[str, bool], Call], dict, dict[str, str]]:
    """Functions of an image by way and whether they score, their files, and what is left out."""
    from mmengine.config import Config

    from ood_seg.apis.inferencer import AnomalyInferencer
    from ood_seg.config_files import resolve_config

    print(f"preparing {config} ...", file=sys.stderr, flush=True)
    cfg = Config.fromfile(resolve_config(config))
    inferencer = AnomalyInferencer(cfg, device="cpu", calibration=False)
    files = export_files(inferencer, cfg, folder, args)
    calls: dict[tuple[str, bool], Call] = {}
    left_out: dict[str, str] = {}
    for way in (way for way in WAYS if way not in args.skip):
        for scored in (False, True):
            try:
                calls[way, scored] = call(way, scored, inferencer, cfg, files, args)
                calls[way, scored](frame(args))  # compiles, allocates
            except Exception as error:  # a way that this machine lacks must not end the others
                calls.pop((way, scored), None)
                left_out[way] = str(error).strip().splitlines()[0][:200]
    return calls, files, left_out


def export_files(inferencer, cfg, folder: Path, args: argparse.Namespace) -> dict:
    """ONNX files by way and whether they score."""
    from ood_seg.export import onnx_file, precision
    from ood_seg.export.card import model_card
    from ood_seg.export.exporting import Options, inference_graph
    from ood_seg.io.images import read_image

    graph = inference_graph(inferencer, cfg, Options())
    card = model_card(inferencer, graph, cfg, None, "fp32")
    images = [read_image(name)[None] for name in precision.calibration_images(args.int8_images)]
    files = {}
    for scored in (False, True):
        graph.outputs = ("labels", "anomaly") if scored else ("labels",)
        model = onnx_file.to_onnx(graph)
        onnx_file.set_properties(model, card.to_properties())
        files["onnx", scored] = folder / f"{'scored' if scored else 'labels'}.onnx"
        onnx_file.save(model, files["onnx", scored])
        if images and "int8" not in args.skip:
            files["int8", scored] = folder / f"int8-{files['onnx', scored].name}"
            precision.to_int8(files["onnx", scored], files["int8", scored], images)
    return files


def call(way: str, scored: bool, inferencer, cfg, files: dict, args: argparse.Namespace) -> Call:
    """One way to labels, with or without scores.

    Raises:
        ValueError: it cannot be had here.
    """
    if way in ("eager", "mmseg"):
        return eager(inferencer, scored, keep_logits=way == "mmseg" or not scored)
    if way == "compile":
        return compiled(inferencer, cfg, scored)
    from ood_seg.runtimes import open_runtime

    if (way, scored) not in files and way == "int8":
        raise ValueError("no --int8-images were given")
    path = files[way if way == "int8" else "onnx", scored]
    runtime = "openvino" if way == "openvino" else "onnxruntime"
    run = open_runtime(
        path, runtime, device=None if runtime == "openvino" else "cpu", threads=args.threads
    )
    return lambda image: run(image[None])


def eager(inferencer, scored: bool, *, keep_logits: bool) -> Call:
    """The config's own pipeline and model."""
    from contextlib import ExitStack
    from unittest.mock import patch

    import torch

    model = inferencer.model
    nothing = torch.zeros(1, 1, 1)

    def predict(image: np.ndarray) -> object:
        with ExitStack() as stack:
            stack.enter_context(patch.object(model, "keep_logits", keep_logits))
            if not scored:
                no_score = patch.object(model.energy_head, "predict", lambda logits: nothing)
                stack.enter_context(no_score)
            return inferencer.predict([image])

    return predict


def compiled(inferencer, cfg, scored: bool) -> Call:
    """The inference graph under `torch.compile`."""
    import torch

    from ood_seg.export.exporting import Options, inference_graph

    graph = inference_graph(inferencer, cfg, Options())
    graph.outputs = ("labels", "anomaly") if scored else ("labels",)
    compiled_graph = torch.compile(graph)

    def predict(image: np.ndarray) -> object:
        with torch.inference_mode():
            return compiled_graph(torch.from_numpy(image[None]))

    return predict


def measure(
    calls: dict[tuple[str, bool], Call], image: np.ndarray, repeat: int
) -> dict[tuple[str, bool], list[float]]:
    """Seconds of each call, in turns.

    Each is called twice and the second call counts: idle threads of the previous runtime spin for
    a while, which on few cores slows the first call and would not happen in use.
    """
    times: dict[tuple[str, bool], list[float]] = {key: [] for key in calls}
    for turn in range(repeat):
        print(f"turn {turn + 1} of {repeat}", file=sys.stderr, flush=True)
        for key, function in calls.items():
            function(image)
            start = time.perf_counter()
            function(image)
            times[key].append(time.perf_counter() - start)
    return times


def print_table(config: str, times: dict, left_out: dict, args: argparse.Namespace) -> None:
    """Milliseconds, the share of the anomaly map, and the speed of both relative to eager."""
    from ood_seg.reports.tables import Table

    height, width = args.size.split("x")
    print(f"\n{config}, {width}x{height}, {args.threads} threads, {args.repeat} turns\n")
    rows = []
    for way in WAYS:
        if (way, True) not in times or (way, False) not in times:
            continue
        alone, scored = times[way, False], times[way, True]
        # Ratios of consecutive calls, so that changes of the load cancel.
        added = statistics.median(b / a for a, b in zip(alone, scored, strict=True)) - 1
        faster = " / ".join(
            f"{statistics.median(times['eager', kind]) / statistics.median(times[way, kind]):.2f}x"
            for kind in (False, True)
            if ("eager", kind) in times
        )
        rows.append((TITLES[way], _times(alone), _times(scored), f"{100 * added:+.1f} %", faster))
    header = ("", "labels, median / p95 ms", "+ anomaly, median / p95 ms", "added", "against eager")
    print(Table("", header, rows).to_markdown(), end="")
    for way, reason in left_out.items():
        print(f"\n{TITLES[way]} left out: {reason}")


def _times(times: list[float]) -> str:
    median, high = statistics.median(times), float(np.percentile(times, 95))
    return f"{1000 * median:.0f} / {1000 * high:.0f}"


def print_video_rate(model: Path, args: argparse.Namespace) -> None:
    """Frames per second from file to result, and of the model alone on frames in memory."""
    import cv2

    from ood_seg.deploy import OnnxAnomalySegmentor

    segmentor = OnnxAnomalySegmentor(model, threads=args.threads)
    reader, frames = cv2.VideoCapture(str(args.video)), []
    while len(frames) < 38:
        there, image = reader.read()
        if not there:
            break
        frames.append(image)
    if not frames:
        raise SystemExit(f"{args.video}: no frames can be read")
    bare, whole = [], []
    segmentor.predict(frames[:1])
    for _ in range(3):
        start = time.perf_counter()
        for image in frames:
            segmentor._run(image[None])
        bare.append(len(frames) / (time.perf_counter() - start))
        start, count = time.perf_counter(), 0
        for count, _result in enumerate(segmentor.stream(args.video), start=1):
            if count == len(frames):
                break
        whole.append(count / (time.perf_counter() - start))
    share = statistics.median(w / b for w, b in zip(whole, bare, strict=True))
    print(
        f"\nvideo {args.video.name}, {frames[0].shape[1]}x{frames[0].shape[0]}: "
        f"{statistics.median(whole):.2f} frames/s end to end, {statistics.median(bare):.2f} of the "
        f"bare model: {100 * share:.1f} %"
    )


if __name__ == "__main__":
    main()
