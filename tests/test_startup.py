"""First sign of life, and silence of other packages' imports; each in a fresh process."""

import subprocess
import sys

import pytest


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_a_line_precedes_the_import_of_torch_and_of_nothing_else():
    announced = "from ood_seg.startup import announce_slow_imports as a; a(); a();"
    assert run(announced + "import numpy").stderr == ""
    done = run(announced + "import json, sys; print('torch' in sys.modules); import torch")
    assert done.stdout == "False\n"
    assert done.stderr.splitlines()[0].startswith("loading torch")
    assert run("import torch;" + announced).stderr == ""
    other = "import os; os.environ['RANK'] = '1';" + announced + "import torch"
    assert "loading" not in run(other).stderr


@pytest.mark.parametrize(
    "line",
    [
        "from ood_seg.apis import AnomalyInferencer",
        "from ood_seg import engine",
        "from ood_seg.models import OODEncoderDecoder; from ood_seg.datasets import PasteOutliers",
    ],
)
def test_imports_print_nothing(line):
    pytest.importorskip("mmseg")
    done = run(line)
    assert (done.stdout, done.stderr) == ("", "")
