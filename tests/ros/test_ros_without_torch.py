"""The ROS modules and the node import with NumPy and OpenCV only; bags name what is missing."""

from __future__ import annotations

from pathlib import Path

from blocking import run_blocked

NODE_FOLDER = Path(__file__).resolve().parents[2] / "ros2" / "ood_seg_ros"
BLOCKED = {"torch", "mmseg", "mmengine", "mmcv", "matplotlib", "PIL", "rich", "rclpy", "rosbags"}
PROGRAM = """
import sys

sys.path.insert(0, sys.argv[1])

import importlib
import pathlib
import pkgutil
import ood_seg.ros

for module in pkgutil.iter_modules(ood_seg.ros.__path__):
    importlib.import_module(f"ood_seg.ros.{module.name}")
import ood_seg_ros.node
from ood_seg.perception.io.frames import is_bag
from ood_seg.ros.bags import annotate

bag = pathlib.Path(sys.argv[2], "a.mcap")
bag.write_bytes(b"")
assert is_bag(bag)
try:
    annotate(bag, bag.with_suffix(".out"), None)
except ModuleNotFoundError as error:
    print("missing:", error.name)
"""


def test_ros_modules_need_neither_torch_nor_ros(tmp_path):
    run = run_blocked(BLOCKED, PROGRAM, NODE_FOLDER, tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "missing: rosbags"
