"""`fake_infer.py` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FAKE = Path(__file__).with_name("fake_infer.py")


def start(*arguments, seconds: float = 0.0, environment: dict | None = None) -> subprocess.Popen:
    """Start it with these arguments; a batch takes `seconds`."""
    return subprocess.Popen(
        [sys.executable, str(FAKE), str(seconds), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(FAKE.parents[1]), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*arguments, **options) -> tuple[int, str, str]:
    """Run it; exit code, standard output and error."""
    process = start(*arguments, **options)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err
