"""The export that the tests of this folder share with those of `export`."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Files of the tiny network's export."""
    import exported_tiny

    return exported_tiny.exported(tmp_path_factory.getbasetemp())
