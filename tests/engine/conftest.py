"""Tiny drawn street scenes on disk."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    """Root of drawn data in the real layouts, a few images each."""
    from ood_seg.demo.data import DemoDataSize, write_demo_data

    root = tmp_path_factory.mktemp("scenes") / "data"
    size = DemoDataSize(
        train=6, val=3, coco=10, road_anomaly=3, fishyscapes=3, height=64, width=128
    )
    # On some drawings a rounding difference between one process and two flips a ReLU, and more
    # than rounding separates their weights; not on this one.
    write_demo_data(root, seed=2, size=size)
    return root
