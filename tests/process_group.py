"""What each process of a distributed test does first and last."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.multiprocessing


@contextlib.contextmanager
def process_group(rank: int, world_size: int, folder: str | Path) -> Iterator[None]:
    """Be one of several processes on the CPU, which find each other by a file in the folder."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world_size))
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def run_on_ranks(entry: Callable[..., None], *arguments: object, number: int = 2) -> None:
    """Call `entry(rank, *arguments)` in several processes and raise what one of them raises.

    They are forked from a process that has imported the libraries once and done nothing else, so
    that each is there in no time.
    """
    multiprocessing.set_forkserver_preload(["ood_seg.register", "torch.distributed"])
    torch.multiprocessing.start_processes(
        entry, arguments, nprocs=number, start_method="forkserver"
    )
