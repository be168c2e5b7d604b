"""docs/scores.md: its example of image-level scores runs as printed."""

import re
from pathlib import Path

import torch

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scores.md"


def test_the_example_runs():
    (code,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        if "Mahalanobis.fitter" in block
    ]
    torch.manual_seed(0)
    names: dict = {}
    exec(code, names)
    assert names["scores"].shape == (40,)
    assert names["scores"].isfinite().all()
    assert names["scores"].std() > 0
