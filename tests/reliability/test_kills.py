"""SIGKILL at random moments: what stands is whole, and the next start ends as if undisturbed."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path

import pytest
import writers

KILLS = int(os.environ.get("OOD_SEG_KILLS", 4))


def start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def seconds_of(command: list[str], out: Path) -> tuple[float, float]:
    """From the start to the first file in `out`, and to the end."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    first = None
    while process.poll() is None:
        if first is None and out.is_dir() and any(out.iterdir()):
            first = time.monotonic() - began
        time.sleep(0.005)
    assert process.returncode == 0, process.stderr.read()
    return first or 0.0, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("name", writers.WRITERS)
def test_killed_at_any_moment(name, inputs, tmp_path):
    writer = writers.WRITERS[name]
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    first, whole = seconds_of(writer.command(inputs, straight), straight)
    rng = random.Random(name)
    hit = 0
    for attempt in range(KILLS):
        process = start(writer.command(inputs, killed, resuming=attempt > 0))
        try:
            process.wait(timeout=rng.uniform(0.8 * first, whole))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            hit += 1
        for path in writers.finished_files(killed):
            writers.check_whole(path)
    assert hit > 0
    done = writers.run(writer.command(inputs, killed, resuming=True))
    assert done.returncode == 0, done.stderr
    expected = {path.relative_to(straight) for path in writers.finished_files(straight)}
    for pattern in writer.products:
        found = sorted(path.relative_to(straight) for path in straight.rglob(pattern))
        assert found, pattern
        for relative in found:
            assert (killed / relative).exists(), relative
            same = writers.comparable(killed / relative) == writers.comparable(straight / relative)
            assert same, relative
            assert relative in expected or (straight / relative).is_dir()
    leftovers = [path for path in killed.rglob("*.part*") if path.is_file()]
    assert not leftovers
