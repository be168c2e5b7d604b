"""Time and memory of the energy losses, forward and backward, compared with cross entropy.

    python benchmarks/losses.py [--batch 8] [--size 700] [--outliers 0.05] [--repeats 5]

All methods get the same logits, `(batch, 19, size, size)`. They are timed in turns in one process;
the smallest time of each counts, as other load on the machine can only add to it. Memory is
measured in one process per method: the peak (`ru_maxrss`; on a GPU, the memory that torch
allocated) minus that of the data, including the gradient of the logits.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

from metrics import peak_memory

# As in metrics.py, large imports are in the functions, so that this process stays small.
METHODS = {
    "cross_entropy": "cross entropy (torch)",
    "energy_autograd": "EnergyOE by autograd",
    "released": "balanced energy by autograd, Z per gamma",
    "direct": "balanced energy by autograd, Z once",
    "energy": "energy_loss",
    "balanced": "balanced_energy_loss",
    "parts": "cross entropy (torch) + balanced_energy_loss",
    "joint": "cross_entropy_balanced_energy_loss",
}
NUM_CLASSES = 19
MARGINS = {"margin_in": -12.0, "margin_out": -6.0}
BALANCE = {"alpha": 5.0, "gamma": 3.0}


def main() -> None:
    """Measure every method and print the table."""
    args = parse_arguments()
    if args.part == "time":
        print(json.dumps(measure_times(args)))
    elif args.part is not None:
        print(json.dumps(measure_memory(args)))
    else:
        timed = run_in_own_process("time", args)
        memory = {name: run_in_own_process(name, args) for name in METHODS}
        print(
            f"logits {args.batch} x {NUM_CLASSES} x {args.size} x {args.size} on {args.device}, "
            f"{args.outliers:.0%} outlier pixels, {timed['threads']} threads, "
            f"smallest of {args.repeats}"
        )
        print_table(timed["seconds"], memory)


def parse_arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8, help="images")
    parser.add_argument("--size", type=int, default=700, help="height and width")
    parser.add_argument("--outliers", type=float, default=0.05, help="fraction of the pixels")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--part", choices=["time", *METHODS], help=argparse.SUPPRESS)
    return parser.parse_args()


def run_in_own_process(part: str, args: argparse.Namespace):
    """Measure the time of all methods, or the memory of one, in a fresh interpreter."""
    print(f"measuring {METHODS.get(part, part)} ...", file=sys.stderr, flush=True)
    command = [sys.executable, __file__, "--part", part]
    for option in ("batch", "size", "outliers", "repeats", "device"):
        command += [f"--{option}", str(getattr(args, option))]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def measure_times(args: argparse.Namespace) -> dict:
    """Smallest seconds of each method."""
    import torch

    methods = make_methods()
    logits, labels = make_data(args)
    for method in methods.values():  # the first call of each is slower
        run(method, logits, labels)
    seconds = dict.fromkeys(methods, float("inf"))
    for _ in range(args.repeats):
        for name, method in methods.items():
            start = time.perf_counter()
            run(method, logits, labels)
            seconds[name] = min(seconds[name], time.perf_counter() - start)
    return {"seconds": seconds, "threads": torch.get_num_threads()}


def measure_memory(args: argparse.Namespace) -> float:
    """Peak extra memory of one method in MiB."""
    import torch

    method = make_methods()[args.part]
    logits, labels = make_data(args)
    run(method, logits.detach()[..., :8, :8].clone().requires_grad_(), labels[..., :8, :8].clone())
    if args.device == "cpu":
        before = peak_memory()
        run(method, logits, labels)
        return (peak_memory() - before) / 2**20
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.max_memory_allocated()
    run(method, logits, labels)
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def run(method: Callable, logits, labels) -> None:
    """Forward and backward."""
    import torch

    method(logits, labels).backward()
    logits.grad = None
    if logits.is_cuda:
        torch.cuda.synchronize()


def make_data(args: argparse.Namespace) -> tuple:
    """Logits, and labels with a block of outliers and a void strip in each image."""
    import torch

    generator = torch.Generator(args.device).manual_seed(0)
    shape = (args.batch, NUM_CLASSES, args.size, args.size)
    logits = torch.empty(shape, device=args.device).normal_(0, 4, generator=generator)
    labels = torch.randint(
        NUM_CLASSES, (args.batch, *shape[2:]), generator=generator, device=args.device
    )
    side = round(args.size * args.outliers**0.5)
    labels[:, :side, :side] = 254
    labels[:, -max(1, args.size // 50) :] = 255
    return logits.requires_grad_(), labels


def make_methods() -> dict[str, Callable]:
    """A function of logits and labels for each method."""
    import torch
    import torch.nn.functional as F

    from ood_seg import losses

    prior = [1 / (1 + index) for index in range(NUM_CLASSES)]

    def cross_entropy(logits, labels):
        return F.cross_entropy(logits, labels.masked_fill(labels == 254, 255), ignore_index=255)

    def energy_autograd(logits, labels):
        energies = -logits.logsumexp(dim=1)
        known = (energies[labels < 254] + 12).relu().square().mean()
        return 0.5 * (known + (-6 - energies[labels == 254]).relu().square().mean())

    def balance(logits, outlier):
        powers = torch.tensor(prior, device=logits.device) ** BALANCE["gamma"]
        powers = (powers / powers.sum()).view(1, -1, 1, 1)
        return (torch.softmax(logits, dim=1) * powers).sum(dim=1)[outlier]

    def transcribed(logits, labels, z_margin, z_weight):
        known, outlier = labels < 254, labels == 254
        energies = -torch.log(torch.exp(logits).sum(dim=1))
        raised = (-6 + BALANCE["alpha"] * z_margin - energies[outlier]).relu() ** 2
        inside = ((energies[known] + 12).relu() ** 2).mean()
        return 0.5 * (inside + (raised * z_weight).sum() / z_weight.sum())

    def released(logits, labels):  # which has two gammas, and computes a Z for each
        margin, weight = (balance(logits, labels == 254) for _ in range(2))
        return transcribed(logits, labels, margin, weight)

    def direct(logits, labels):
        z = balance(logits, labels == 254)
        return transcribed(logits, labels, z, z)

    def balanced(logits, labels):
        return losses.balanced_energy_loss(logits, labels, prior, **MARGINS, **BALANCE)

    return {
        "cross_entropy": cross_entropy,
        "energy_autograd": energy_autograd,
        "released": released,
        "direct": direct,
        "energy": lambda f, y: losses.energy_loss(f, y, **MARGINS),
        "balanced": balanced,
        "parts": lambda f, y: cross_entropy(f, y) + 0.1 * balanced(f, y),
        "joint": lambda f, y: losses.cross_entropy_balanced_energy_loss(
            f, y, prior, energy_weight=0.1, **MARGINS, **BALANCE
        ),
    }


def print_table(seconds: dict[str, float], memory: dict[str, float]) -> None:
    """One row per method, with ratios to cross entropy and to the two transcriptions."""
    bases = {"CE": "cross_entropy", "released": "released", "Z once": "direct"}
    head = ["method", "seconds", *(f"/ {short}" for short in bases)]
    head += ["MiB", *(f"/ {short}" for short in bases)]
    rows = [head]
    for name, title in METHODS.items():
        row = [title, f"{seconds[name]:.3f}"]
        row += [f"{seconds[name] / seconds[base]:.2f}" for base in bases.values()]
        row.append(f"{memory[name]:.0f}")
        row += [f"{memory[name] / max(memory[base], 1e-3):.2f}" for base in bases.values()]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join(cells))


if __name__ == "__main__":
    main()
