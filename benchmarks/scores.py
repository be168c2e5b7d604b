"""Time and memory of labels and scores at full resolution, and what the energy score adds.

    python benchmarks/scores.py [--classes 19] [--size 1024 2048] [--ratio 4] [--repeats 7]

The first table compares, for several scores, `labels_and_scores` with the plain form (interpolate,
score, arg-max) on logits of a quarter of the height and width of the image. The second compares
ERFNet at 1024x512 as a plain segmentor and with anomaly scores, with the weights of the config if
its data folder is found, else with random ones.

All variants are timed in turns in one process; the smallest time of each counts, as other load on
the machine can only add to it. Memory is measured in one process per variant: the peak
(`ru_maxrss`; on a GPU, the memory that torch allocated) minus that of the logits, including the
results.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from metrics import peak_memory

# As in metrics.py, large imports are in the functions, so that this process stays small.
SCORES = {
    "Energy": "energy",
    "MaxSoftmax": "max softmax",
    "MaxLogit": "max logit",
    "Entropy": "entropy",
    "GeneralizedEntropy": "GEN",
}
FORMS = ("plain", "blocks")
CONFIG = Path(__file__).parents[1] / "configs" / "posthoc" / "energy_fcn-erfnet_cityscapes.py"
SEGMENTORS = {
    "plain": "EncoderDecoder, labels alone",
    "logits": "OODEncoderDecoder, labels, energy and logits",
    "fused_labels": "OODEncoderDecoder(keep_logits=False), labels and max logit",
    "fused": "OODEncoderDecoder(keep_logits=False), labels and energy",
}


def main() -> None:
    """Measure everything and print the two tables."""
    args = parse_arguments()
    if args.part is not None:
        print(json.dumps(measure(args)))
        return
    timed = run_in_own_process("time", args)
    memory = {f"{s}-{f}": run_in_own_process(f"{s}-{f}", args) for s in SCORES for f in FORMS}
    height, width = args.size
    print(
        f"{args.classes} x {height // args.ratio} x {width // args.ratio} logits to "
        f"{height} x {width} on {args.device}, {timed['threads']} threads, "
        f"smallest of {args.repeats}"
    )
    print_table(full_resolution_rows(timed, memory))
    segmentors = run_in_own_process("segmentors", args)
    print(f"\nERFNet at 1024x512, {segmentors['weights']} weights")
    print_table(segmentor_rows(segmentors["seconds"]))


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--size", type=int, nargs=2, default=[1024, 2048], metavar=("H", "W"))
    parser.add_argument("--ratio", type=int, default=4, help="of the image to the logits")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parts = ["time", "segmentors", *(f"{s}-{f}" for s in SCORES for f in FORMS)]
    parser.add_argument("--part", choices=parts, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_in_own_process(part: str, args: argparse.Namespace):
    """Measure one part in a fresh interpreter."""
    print(f"measuring {part} ...", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--part", part, "--size", *map(str, args.size)]
    for option in ("classes", "ratio", "repeats", "device"):
        command += [f"--{option}", str(getattr(args, option))]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output.splitlines()[-1])


def measure(args: argparse.Namespace) -> dict | float:
    """What `--part` names."""
    if args.part == "time":
        return measure_times(args)
    if args.part == "segmentors":
        return measure_segmentors(args)
    return measure_memory(args, *args.part.split("-"))


def measure_times(args: argparse.Namespace) -> dict:
    """Smallest seconds of each form of each score, and how far the two forms differ."""
    import torch

    logits = make_logits(args)
    seconds, differences = {}, {}
    for name in SCORES:
        forms = make_forms(name, args.size)
        (plain_labels, plain), (labels, scores) = (form(logits) for form in forms.values())
        differences[name] = {
            "labels": int((labels != plain_labels).sum()),
            "scores": float((scores - plain).abs().max()),
        }
        seconds[name] = smallest_times(forms, logits, args.repeats)
    return {"seconds": seconds, "differences": differences, "threads": torch.get_num_threads()}


def smallest_times(methods: dict[str, Callable], data, repeats: int) -> dict[str, float]:
    """Smallest seconds of each method, called in turns, after a first call of each."""
    import torch

    seconds = dict.fromkeys(methods, float("inf"))
    for turn in range(repeats + 1):
        for name, method in methods.items():
            start = time.perf_counter()
            method(data)
            if data.is_cuda:
                torch.cuda.synchronize()
            if turn:
                seconds[name] = min(seconds[name], time.perf_counter() - start)
    return seconds


def measure_memory(args: argparse.Namespace, score: str, form: str) -> float:
    """Peak extra memory of one form of one score in MiB."""
    import torch

    logits = make_logits(args)
    make_forms(score, (8, 8))[form](logits[..., :4, :4].clone())
    method = make_forms(score, args.size)[form]
    if args.device == "cpu":
        before = peak_memory()
        method(logits)
        return (peak_memory() - before) / 2**20
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    method(logits)
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def make_logits(args: argparse.Namespace):
    """Small logits of one image."""
    import torch

    generator = torch.Generator(args.device).manual_seed(0)
    height, width = (side // args.ratio for side in args.size)
    logits = torch.empty((1, args.classes, height, width), device=args.device)
    return logits.normal_(0, 4, generator=generator)


def make_forms(score: str, size) -> dict[str, Callable]:
    """Both ways from small logits to labels and scores."""
    import torch.nn.functional as F

    from ood_seg import scores
    from ood_seg.full_resolution import labels_and_scores

    module = getattr(scores, score)()

    def plain(logits):
        logits = F.interpolate(logits, size=tuple(size), mode="bilinear")
        values = module(logits)
        return logits.argmax(dim=1), values

    return {"plain": plain, "blocks": lambda logits: labels_and_scores(logits, size, module)}


def measure_segmentors(args: argparse.Namespace) -> dict:
    """Smallest seconds of ERFNet's predictions with and without an anomaly score."""
    import torch

    models, weights = make_segmentors()
    for model in models.values():
        model.to(args.device)
    inputs = torch.randn(1, 3, 512, 1024, generator=torch.Generator().manual_seed(0))
    methods = {name: model.predict for name, model in models.items()}
    with torch.inference_mode():
        seconds = smallest_times(methods, inputs.to(args.device), args.repeats)
    return {"seconds": seconds, "weights": weights}


def make_segmentors() -> tuple[dict, str]:
    """The segmentors by name, with the same weights, and where those are from."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmseg.registry import MODELS

    from ood_seg.checkpoints import load_weights

    cfg = Config.fromfile(CONFIG)
    init_default_scope("mmseg")
    cfg.model.backbone.pop("init_cfg", None)
    settings = {name: cfg.model.copy() for name in SEGMENTORS}
    settings["plain"]["type"] = "EncoderDecoder"
    settings["plain"].pop("energy_head")
    settings["fused_labels"]["energy_head"] = {"type": "EnergyHead", "score": {"type": "MaxLogit"}}
    for name in ("fused_labels", "fused"):
        settings[name]["keep_logits"] = False
    models = {name: MODELS.build(one).eval() for name, one in settings.items()}
    found = Path(cfg.load_from).is_file()
    state = load_weights(cfg.load_from) if found else models["plain"].state_dict()
    for model in models.values():
        model.load_state_dict(state)
    return models, "the config's" if found else "random"


def full_resolution_rows(timed: dict, memory: dict[str, float]) -> list[list[str]]:
    """The first table."""
    rows = [["score", "plain s", "s", "faster", "plain MiB", "MiB", "labels differ", "scores by"]]
    for name, title in SCORES.items():
        seconds, difference = timed["seconds"][name], timed["differences"][name]
        rows.append(
            [
                title,
                *(f"{seconds[form]:.3f}" for form in FORMS),
                f"{seconds['plain'] / seconds['blocks']:.2f}",
                *(f"{memory[f'{name}-{form}']:.0f}" for form in FORMS),
                str(difference["labels"]),
                f"{difference['scores']:.1e}",
            ]
        )
    return rows


def segmentor_rows(seconds: dict[str, float]) -> list[list[str]]:
    """The second table."""
    rows = [["segmentor", "seconds", "added"]]
    for name, title in SEGMENTORS.items():
        added = seconds[name] / seconds["plain"] - 1
        rows.append([title, f"{seconds[name]:.3f}", f"{added:+.1%}"])
    return rows


def print_table(rows: list[list[str]]) -> None:
    """Print rows with aligned columns, the first one left-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells))


if __name__ == "__main__":
    main()
