"""What the demo does and how long: its steps, sizes and iterations."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ood_seg.demo.data import DRAWING_VERSION, DemoDataSize
from ood_seg.io.files import write_text

PRETRAINING = "pretrain"
DONE = "done.json"


@dataclass(frozen=True)
class DemoPlan:
    """Sizes of a demo run; None leaves what the configs state.

    Attributes:
        data: how much is drawn.
        pretraining: iterations of the first training.
        fine_tuning: iterations of each fine-tuning.
        prior_images: pasted scenes from which the outlier prior is counted.
    """

    data: DemoDataSize = field(default_factory=DemoDataSize)
    pretraining: int | None = None
    fine_tuning: int | None = None
    prior_images: int | None = None

    def iterations(self, step: str) -> int | None:
        """Iterations of a training step."""
        return self.pretraining if step == PRETRAINING else self.fine_tuning

    def fingerprint(self, seed: int) -> dict:
        """Everything that a finished step depends on, comparable with its JSON."""
        return {"seed": seed, "drawing": DRAWING_VERSION, **asdict(self)}


FULL_PLAN = DemoPlan()
# Enough to see that fine-tuning helps, not to see by how much. Many objects help most.
FAST_PLAN = DemoPlan(
    data=DemoDataSize(
        train=24, val=2, coco=120, road_anomaly=8, fishyscapes=8, height=64, width=128
    ),
    pretraining=120,
    fine_tuning=100,
    prior_images=20,
)


@dataclass(frozen=True)
class Method:
    """One row of the table: which weights, scored how.

    Attributes:
        name: as printed.
        step: the training whose weights are used.
        score: registered score module.
        score_name: as printed.
    """

    name: str
    step: str
    score: str
    score_name: str

    @property
    def folder(self) -> str:
        """Name of the test's folder, unique among methods."""
        return f"{self.step}_{self.score.lower()}"


# The trainings in their order, with their configs.
TRAININGS = {
    PRETRAINING: "demo/pretrain_fcn-unet-small_1000it_demo",
    "energy_oe": "demo/energy-oe_fcn-unet-small_200it_demo",
    "balanced_energy": "demo/balanced-energy_fcn-unet-small_200it_demo",
    "branch": "demo/balanced-energy_fcn-unet-small-branch_200it_demo",
}
METHODS = (
    Method("no fine-tuning", PRETRAINING, "MaxSoftmax", "max softmax"),
    Method("no fine-tuning", PRETRAINING, "MaxLogit", "max logit"),
    Method("no fine-tuning", PRETRAINING, "Entropy", "entropy"),
    Method("no fine-tuning", PRETRAINING, "Energy", "energy"),
    Method("EnergyOE", "energy_oe", "Energy", "energy"),
    Method("balanced EnergyOE", "balanced_energy", "Energy", "energy"),
    Method("..., in a branch", "branch", "Energy", "energy"),
)
# What the figure compares.
BEFORE, AFTER = METHODS[3], METHODS[-1]


def read_done(folder: Path, fingerprint: dict) -> dict | None:
    """The result of a finished step; None if it is unfinished or ran with other parameters."""
    try:
        content = json.loads((folder / DONE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content["result"] if content.get("fingerprint") == fingerprint else None


def write_done(folder: Path, fingerprint: dict, result: dict) -> None:
    """Mark a step as finished, atomically."""
    content = {"fingerprint": fingerprint, "result": result}
    write_text(folder / DONE, json.dumps(content, indent=2))
