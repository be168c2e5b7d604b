"""Division of the images among processes and machines, without communication.

Every process goes through the whole source and takes the images whose names fall to it: always the
same ones for a given number of processes, even if files are added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

# Number of the process, number of processes, number of the process on its machine.
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_SLURM = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")


@dataclass(frozen=True)
class Shard:
    """One process of several.

    Attributes:
        rank: its number, from 0.
        world: number of processes.
        local_rank: its number on its machine, which selects a GPU.

    Raises:
        ValueError: a rank that is not below the number of processes, or negative.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world or self.local_rank < 0:
            raise ValueError(
                f"expected 0 <= rank < number of processes, got rank {self.rank} of {self.world} "
                f"(local rank {self.local_rank})"
            )

    def owns(self, name: str) -> bool:
        """Whether the image or video of this name falls to this process."""
        if self.world == 1:
            return True
        # File names that are not valid UTF-8 contain lone surrogates.
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % self.world == self.rank


SINGLE_PROCESS = Shard()


def shard_of(environment: Mapping[str, str]) -> Shard:
    """Return the shard that torchrun or `srun` has set in the environment; else the only one.

    A script of `sbatch` that does not call `srun` runs once, whatever the number of tasks, and is
    the only process.

    Raises:
        ValueError: values that are not integers, or do not fit together.
    """
    for names in (_TORCHRUN, _SLURM):
        rank, world, local = (environment.get(name) for name in names)
        if rank is None or world is None:
            continue
        in_step = environment.get("SLURM_STEP_ID", "").isdigit()
        if names is _SLURM and "SLURM_JOB_ID" in environment and not in_step:
            continue
        try:
            return Shard(int(rank), int(world), int(local or 0))
        except ValueError as error:
            given = ", ".join(f"{name}={environment.get(name)}" for name in names)
            raise ValueError(f"{given}: {error}") from error
    return SINGLE_PROCESS
