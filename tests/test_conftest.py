"""What a test run requires and reports; each in a run of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")
PROGRAM = """
import pytest

def test_absent_library():
    pytest.importorskip("library_that_is_not_there")

def test_absent_reference():
    pytest.importorskip("torchmetrics.not_there")

def test_real_data(real_data):
    pass
"""


def run_tests(folder: Path, **environment: str) -> str:
    """The output of the program above under this conftest."""
    (folder / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "test_program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "OOD_SEG_DATA": str(folder / "absent"), **environment},
        cwd=folder,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("required", "outcome"),
    [("0", "3 skipped"), ("1", "1 failed, 2 skipped")],
)
def test_absent_library_fails_only_where_extras_are_required(tmp_path, required, outcome):
    output = run_tests(tmp_path, OOD_SEG_REQUIRE_EXTRAS=required)
    assert outcome in output
    assert ("No module named 'library_that_is_not_there'" in output) == (required == "1")


def test_one_line_reports_the_skips_for_lack_of_real_data(tmp_path):
    lines = [
        line for line in run_tests(tmp_path).splitlines() if "OOD_SEG_DATA to a folder" in line
    ]
    assert len(lines) == 1
    assert lines[0].startswith("1 tests need real data")
