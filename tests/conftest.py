"""Fixtures shared by all tests, and what a run of them requires and reports."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Tiny networks gain nothing from threads, and two OpenMP threads spin on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# mmengine lays out the whole config by yapf four times a run, which takes longer than the tests'
# tiny networks do. The text that it is given is the same code, on long lines.
with contextlib.suppress(ImportError):
    from yapf.yapflib import yapf_api

    yapf_api.FormatCode = lambda text, *args, **kwargs: (text, True)

# A slow or busy machine must not fail a property test.
with contextlib.suppress(ImportError):
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "any speed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("any speed")

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).parent))  # `import tiny` from every folder of tests

NO_REAL_DATA = "real data not found"
# What a test may skip for even where everything else is installed: no extra brings these.
NOT_IN_AN_EXTRA = {"torchmetrics"}


def pytest_configure() -> None:
    """With `OOD_SEG_REQUIRE_EXTRAS=1` a missing optional library fails its tests."""
    if os.environ.get("OOD_SEG_REQUIRE_EXTRAS", "0") not in ("", "0"):
        pytest.importorskip = _import_required


def _import_required(name: str, *args, _or_skip=pytest.importorskip, **kwargs):
    """Import as `pytest.importorskip` does, but skip only for what no extra brings."""
    if name.partition(".")[0] in NOT_IN_AN_EXTRA:
        return _or_skip(name, *args, **kwargs)
    return importlib.import_module(name)


def pytest_terminal_summary(terminalreporter) -> None:
    """Say in one line how to run the tests that skipped for lack of real data."""
    skipped = terminalreporter.stats.get("skipped", [])
    number = sum(NO_REAL_DATA in str(report.longrepr) for report in skipped)
    if number:
        terminalreporter.write_line(
            f"{number} tests need real data and skipped: set OOD_SEG_DATA to a folder with the "
            "datasets (docs/data.md: `ood-seg prepare-data`, `ood-seg check-data`)"
        )


@pytest.fixture(scope="session", autouse=True)
def state_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the model that tests use last out of the home of whoever runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.delenv("OOD_SEG_MODEL", raising=False)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data: `$OOD_SEG_DATA`, else `../shared/data`; skips where absent."""
    folder = Path(os.environ.get("OOD_SEG_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"{NO_REAL_DATA} at {folder}; set OOD_SEG_DATA to its folder")
    return folder
