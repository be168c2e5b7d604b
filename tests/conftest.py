"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Tiny networks gain nothing from threads, and two OpenMP threads spin on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).parent))  # `import tiny` from every folder of tests


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data: `$OOD_SEG_DATA`, else `../shared/data`; skips where absent."""
    folder = Path(os.environ.get("OOD_SEG_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}; set OOD_SEG_DATA to its folder")
    return folder
