"""The export that the tests of this folder share."""

import pytest


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Files of the tiny network's export."""
    import exported_tiny

    return exported_tiny.exported(tmp_path_factory.getbasetemp())
