"""A run that is killed leaves no target, only a `.part` that the next run names."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ros_doubles import ColourSegmentor, street

pytest.importorskip("rosbags", reason="rosbags is not installed: ood-seg[bags]")

from bag_doubles import camera_bag

from ood_seg.ros.bags import annotate

PROGRAM = """
import sys, time
sys.path.insert(0, sys.argv[3])
from ros_doubles import ColourSegmentor
from ood_seg.ros.bags import annotate

def tell(done, total):
    if done == 2:
        print("half", flush=True)
        time.sleep(60)

annotate(sys.argv[1], sys.argv[2], ColourSegmentor(), progress=tell)
"""


@pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
def test_killed_run(tmp_path, storage):
    images = [street(seed=seed) for seed in range(4)]
    source = camera_bag(tmp_path / "in", images, storage=storage)
    target = tmp_path / "out"
    command = [sys.executable, "-c", PROGRAM, source, target, Path(__file__).parent]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    assert not target.exists()
    with pytest.raises(ValueError, match=r"out\.part exists"):
        annotate(source, target, ColourSegmentor())
    (tmp_path / "out.part").rename(tmp_path / "elsewhere")
    assert annotate(source, target, ColourSegmentor()).frames == 4
