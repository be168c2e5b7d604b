"""docs/extending.md: its module and config are written to disk, its commands run as they stand."""

import json
import re
import shlex
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

pytest.importorskip("mmseg")
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import MODELS, TRANSFORMS

import ood_seg.register  # noqa: F401
from ood_seg.checkpoints import load_checkpoint
from ood_seg.commands import main
from ood_seg.demo.data import DemoDataSize, write_demo_data
from ood_seg.detectors import FITTED, PENULTIMATE, FittedDetector, Statistics
from ood_seg.labels import OUTLIER

init_default_scope("mmseg")
ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
JOINED = PAGE.replace("\\\n", " ")  # a command may be broken over several lines
COMMANDS = re.findall(r"^PYTHONPATH=\. ood-seg (.+)$", JOINED, re.MULTILINE)
SHORT = (
    "train_cfg.max_iters=2",
    "train_dataloader.num_workers=0",
    "train_dataloader.persistent_workers=False",
)


def written_files() -> dict[str, str]:
    """Text of each file of the page; a block that names none goes on with the last one."""
    files, name = {}, ""
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        if named := re.match(r"# (\w+\.py)\n", block):
            name = named[1]
        files[name] = files.get(name, "") + block
    return files


def run(command: str, *extra: str) -> int:
    """Run a command line of the page."""
    return main([*shlex.split(command.replace("iter_200", "iter_2")), *extra])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `ood-seg demo` leaves, in small, and the files of the page."""
    folder = tmp_path_factory.mktemp("extending")
    size = DemoDataSize(train=4, val=2, coco=8, road_anomaly=2, fishyscapes=2, height=64, width=128)
    write_demo_data(folder / "demo_output" / "data", seed=0, size=size)
    (folder / "configs").symlink_to(ROOT / "configs")
    pretrained = folder / "demo_output" / "pretrain" / "iter_1000.pth"
    pretrained.parent.mkdir()
    config = Config.fromfile(ROOT / "configs/demo/pretrain_fcn-unet-small_1000it_demo.py")
    torch.save({"state_dict": MODELS.build(config.model).state_dict()}, pretrained)
    for name, text in written_files().items():
        (folder / name).write_text(text)
    drawn, mine = folder / "demo_output/data/fishyscapes", folder / "my_data"
    mine.mkdir()
    for image in (drawn / "images").iterdir():
        shutil.copy(image, mine / image.name)
        mask = cv2.imread(str(drawn / "labels_masks" / image.name), cv2.IMREAD_UNCHANGED)
        mask[mask == 1] = 7
        cv2.imwrite(str(mine / f"{image.stem}_mask.png"), mask)
    return folder


def test_the_page_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("OOD_SEG_DEMO", raising=False)
    train, test, benchmark = COMMANDS
    assert run(train, "--cfg-options", *SHORT) == 0
    weights = load_checkpoint("work_dirs/mine/iter_2.pth")["state_dict"]
    assert weights["decode_head.second.weight"].shape == (19, 16, 1, 1)
    logged = next(Path("work_dirs/mine").rglob("scalars.json")).read_text()
    assert '"anomaly.loss_max_logit"' in logged
    assert '"decode.loss_second"' in logged
    used = Config.fromfile(next(Path("work_dirs/mine").glob("*.py"))).train_dataloader
    transform = TRANSFORMS.build(used.dataset.dataset.pipeline[-2])
    np.random.seed(0)
    scene = {"img": np.zeros((80, 90, 3), np.uint8), "gt_seg_map": np.zeros((80, 90), np.uint8)}
    assert (transform(scene)["gt_seg_map"] == OUTLIER).sum() > 14 * 14 / 2
    assert type(transform.source).__name__ == "Checkerboards"

    assert run(test) == 0
    content = json.loads(Path("work_dirs/mine/metrics.json").read_text())["sets"]["mine"]
    assert content["images"] == 2
    assert 0 < content["metrics"]["anomaly/auroc"] < 100

    assert run(benchmark) == 0
    content = json.loads(Path("work_dirs/mine/benchmark.json").read_text())
    assert set(content["sets"]["mine"]["scores"]) == {"energy", "gap"}


class MeanDistance(FittedDetector):
    """Distance of the classifier's input to its mean."""

    method = "mean-distance"
    layers = (PENULTIMATE,)

    def forward(self, outputs, network):
        return (outputs.features[PENULTIMATE] - self.mean[:, None, None]).norm(dim=1)

    @classmethod
    def fitter(cls):
        return MeanFitter()


class MeanFitter:
    layers = (PENULTIMATE,)

    def __init__(self):
        self.means = []

    def update(self, outputs, labels, network):
        self.means.append(outputs.features[PENULTIMATE].mean(dim=(0, 2, 3)))

    def reduce(self):
        pass

    def result(self):
        return Statistics(MeanDistance.method, {"mean": torch.stack(self.means).mean(dim=0)})


def test_a_fitted_score_of_ones_own_is_fitted_and_used(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OOD_SEG_DEMO", "demo_output")
    monkeypatch.setitem(FITTED, MeanDistance.method, MeanDistance)
    monkeypatch.setitem(MODELS.module_dict, "MeanDistance", MeanDistance)
    config = "demo/pretrain_fcn-unet-small_1000it_demo"
    model = [config, "demo_output/pretrain/iter_1000.pth", "--work-dir", "work_dirs/fitted"]
    methods = ["--methods", "mean-distance", "--data", "train", "--num-images", "2"]
    assert main(["fit", *model, *methods, "--file", "mine.stats"]) == 0
    score = ["--score", 'mine={"type": "MeanDistance"}', "--statistics", "mine.stats"]
    assert main(["benchmark", *model, *score, "--sets", "fishyscapes"]) == 0
    content = json.loads(Path("work_dirs/fitted/benchmark.json").read_text())
    assert list(content["sets"]["fishyscapes"]["scores"]) == ["mine"]


def test_the_page_is_short():
    assert len(PAGE.split()) <= 740  # words: 120 lines of the width that it once had, and a source
    assert len(COMMANDS) == 3
