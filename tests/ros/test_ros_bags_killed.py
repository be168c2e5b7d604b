"""One process writes a bag; what a killed one leaves is in nobody's way; full disks."""

from __future__ import annotations

import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from ros_doubles import ColourSegmentor, street

pytest.importorskip("rosbags", reason="rosbags is not installed: ood-seg[bags]")

from bag_doubles import camera_bag, read_bag
from rosbags import rosbag2

from ood_seg.ros import bag_files
from ood_seg.ros.bags import annotate

IMAGES = [street(seed=seed) for seed in range(4)]
STORAGES = pytest.mark.parametrize("storage", ["sqlite3", "mcap"])
PROGRAM = """
import resource, sys
sys.path.insert(0, sys.argv[3])
from ros_doubles import ColourSegmentor
from ood_seg.ros.bags import annotate

def tell(done, total):
    if done == 2:
        print("half", flush=True)
        sys.stdin.read()

limit = int(sys.argv[4])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
annotate(sys.argv[1], sys.argv[2], ColourSegmentor(), progress=tell)
"""


def start(source, target, limit: int = 0) -> subprocess.Popen:
    """A process that writes half of the bag and waits for a line; its files have `limit` bytes."""
    command = [sys.executable, "-c", PROGRAM, source, target, Path(__file__).parent, str(limit)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@STORAGES
def test_a_bag_is_written_by_one_process_that_may_be_killed(tmp_path, storage):
    source = camera_bag(tmp_path / "in", IMAGES, storage=storage)
    target = tmp_path / "new" / "out"
    with start(source, target) as process:
        assert process.stdout.readline() == "half\n"
        with pytest.raises(ValueError, match=rf"out is being .*\({process.pid} on "):
            annotate(source, target, ColourSegmentor())
        process.send_signal(signal.SIGKILL)
    assert not target.exists()
    assert len(list(target.parent.iterdir())) == 2  # its lock and its half of the bag
    assert annotate(source, target, ColourSegmentor()).frames == 4
    assert list(target.parent.iterdir()) == [target]
    assert len(read_bag(target)["/ood_seg/labels"]) == 4


@STORAGES
def test_a_full_disk_leaves_nothing(tmp_path, storage):
    source = camera_bag(tmp_path / "in", IMAGES, storage=storage)
    process = start(source, tmp_path / "new" / "out", limit=10_000)
    _, err = process.communicate("\n", timeout=60)
    assert process.returncode == 1
    assert re.search(r"ValueError: bag \S*out cannot be written: ", err)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_bag_whose_messages_a_full_disk_has_taken_back_is_not_kept(tmp_path, monkeypatch):
    """SQLite rolls back all that was written, but its file and metadata look whole."""
    source = camera_bag(tmp_path / "in", IMAGES)
    real = rosbag2.Writer.write

    def full(writer, connection, time, data):
        real(writer, connection, time, data)
        if sum(writer.counts.values()) == 9:
            writer.storage.conn.rollback()
            raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(rosbag2.Writer, "write", full)
    with pytest.raises(ValueError, match="out cannot be written: database or disk is full"):
        annotate(source, tmp_path / "out", ColourSegmentor())
    assert list(tmp_path.iterdir()) == [source]


@STORAGES
def test_messages_that_are_not_in_the_bag_are_missed(tmp_path, storage, monkeypatch):
    source = camera_bag(tmp_path / "in", IMAGES, storage=storage)
    real = bag_files.Bag._write

    def lose(bag, connection, time, data):
        real(bag, connection, time, data)
        bag.count += bag.count == 5

    monkeypatch.setattr(bag_files.Bag, "_write", lose)
    with pytest.raises(ValueError, match=r"out: (\d+) messages were .*contains \d+"):
        annotate(source, tmp_path / "out", ColourSegmentor())
    assert list(tmp_path.iterdir()) == [source]


def test_a_target_that_comes_into_being_meanwhile_is_kept(tmp_path):
    source = camera_bag(tmp_path / "in", IMAGES)

    def other_program(done, total):
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "file").write_text("kept")

    with pytest.raises(ValueError, match=r"out cannot be written: .*not empty"):
        annotate(source, tmp_path / "out", ColourSegmentor(), progress=other_program)
    assert (tmp_path / "out" / "file").read_text() == "kept"


@pytest.mark.slow
@STORAGES
def test_kills_at_random_moments(tmp_path, storage):
    source, target = camera_bag(tmp_path / "in", IMAGES, storage=storage), tmp_path / "new" / "out"
    rng = random.Random(storage)
    for _ in range(10):
        process = start(source, target)
        threading.Timer(rng.uniform(0.2, 2.0), process.kill).start()
        process.communicate("\n")
        if target.exists():  # it had ended before the kill
            assert len(read_bag(target)["/ood_seg/labels"]) == 4
            shutil.rmtree(target)
    assert annotate(source, target, ColourSegmentor()).frames == 4
    assert list(target.parent.iterdir()) == [target]
    assert len(read_bag(target)["/ood_seg/labels"]) == 4
