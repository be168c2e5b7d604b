"""Work shared by processes and machines without talk between them.

Every process goes through the whole source and takes the pictures whose name falls to it: the
same ones in every run with as many processes, whatever else the folder gains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ood_seg.perception.io.name_set import name_hash

# Number of the process, number of processes, number of the process on its machine.
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_SLURM = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")


@dataclass(frozen=True)
class Shard:
    """One process among several.

    Attributes:
        rank: its number, from 0.
        world: number of processes.
        local_rank: its number on its machine, which chooses a GPU.

    Raises:
        ValueError: a rank outside the world.
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
        """Whether the picture or video of that name falls to this process."""
        return self.world == 1 or name_hash(name) % self.world == self.rank


def shard_of(environment: Mapping[str, str]) -> Shard:
    """The shard that torchrun or `srun` has set in the environment; else the only one.

    A script of `sbatch` that does not call `srun` runs once, whatever the number of tasks, and is
    the only process.

    Raises:
        ValueError: values that are no numbers, or do not fit together.
    """
    for names in (_TORCHRUN, _SLURM):
        rank, world, local = (environment.get(name) for name in names)
        if rank is None or world is None:
            continue
        if names is _SLURM and "SLURM_JOB_ID" in environment and not _in_step(environment):
            continue
        try:
            return Shard(int(rank), int(world), int(local or 0))
        except ValueError as error:
            given = ", ".join(f"{name}={environment.get(name)}" for name in names)
            raise ValueError(f"{given}: {error}") from error
    return Shard()


def _in_step(environment: Mapping[str, str]) -> bool:
    return environment.get("SLURM_STEP_ID", "").isdigit()
