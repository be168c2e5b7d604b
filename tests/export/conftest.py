"""The export shared by the tests of this folder."""

import pytest


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Files of the tiny network's export."""
    import exported_tiny

    return exported_tiny.exported(tmp_path_factory.getbasetemp())
