"""The core imports and works where OpenMMLab is not installed."""

import subprocess
import sys

from blocking import run_blocked

BLOCKED = {"mmseg", "mmengine", "mmcv", "sklearn", "rich", "matplotlib"}
PROGRAM = """
import numpy as np
import torch
import ood_seg
from ood_seg import full_resolution, labels, losses, metrics, pasting, scores, smoothing

logits = torch.randn(2, 5, 12, 16, generator=torch.Generator().manual_seed(0))
gt = torch.randint(0, 5, (2, 12, 16), generator=torch.Generator().manual_seed(1))
gt[:, 3:6, 3:9] = labels.OUTLIER
loss = losses.balanced_energy_loss(
    logits, gt, torch.ones(5), margin_in=-5, margin_out=-1, alpha=1, gamma=1
)
classes, energies = full_resolution.labels_and_scores(logits, (12, 16), scores.Energy())
maps = smoothing.gaussian_smooth(energies, 3)
result = metrics.pixel_metrics(maps, (gt == labels.OUTLIER).long())
scene, mask = pasting.paste_object(
    np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8),
    np.full((2, 2, 3), 9, np.uint8), np.ones((2, 2), bool), 1, 2,
)
assert loss.isfinite() and 0 < result["auroc"] < 1 and (mask == 254).sum() == 4
print("core works")
"""


def test_core_needs_neither_mmseg_nor_matplotlib():
    run = run_blocked(BLOCKED, PROGRAM)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "core works"
    assert run.stderr == ""


def test_importing_the_package_imports_nothing_heavy():
    program = "import sys, ood_seg; print(sorted({'torch', 'mmseg', 'cv2'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.stdout.strip() == "[]"
    assert run.stderr == ""
